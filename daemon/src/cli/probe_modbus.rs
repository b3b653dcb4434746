//! `domoflux probe modbus`: reads from a Modbus device once, and shows what it says.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use tokio_modbus::client::{Context, Reader as _, rtu, tcp};
use tokio_modbus::{Error, ExceptionCode, Slave};

use super::{Failure, UNAVAILABLE, USAGE, duration, runtime, say};
use crate::net::{Address, Dialler};
use crate::text::{printable, reason};
use crate::units::Seconds;

/// Read from a Modbus device and show what it says. Exit code 0: it answers, 69: nobody does, 1: with an exception.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Host and port.
    #[arg(value_name = "HOST:PORT")]
    device: Address,
    /// The unit that is asked.
    #[arg(long, default_value_t = 1, value_name = "N")]
    unit: u8,
    /// What is read: a name, or its function code.
    #[arg(long, value_enum, default_value = "holding")]
    function: Function,
    /// The first address, from 0.
    #[arg(long, default_value_t = 0, value_name = "N")]
    address: u16,
    /// How many.
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=2000))]
    count: u16,
    /// Show registers as this only; those of 32 bits are two registers.
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    shown_as: Option<Type>,
    /// Two registers have their low word first.
    #[arg(long)]
    low_word_first: bool,
    /// How long to wait for the connection, and then for the answer.
    #[arg(long, default_value = "5s", value_name = "DURATION", value_parser = duration::read)]
    timeout: Seconds,
    /// RTU frames over TCP, as serial converters have them.
    #[arg(long)]
    rtu_over_tcp: bool,
}

/// A function that reads.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Function {
    /// Coils (1)
    #[value(alias = "1")]
    Coils,
    /// Discrete inputs (2)
    #[value(alias = "2")]
    Discrete,
    /// Holding registers (3)
    #[value(alias = "3")]
    Holding,
    /// Input registers (4)
    #[value(alias = "4")]
    Input,
}

/// What registers are.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Type {
    U16,
    I16,
    U32,
    I32,
    F32,
    Hex,
}

/// What was read.
enum Values {
    Bits(Vec<bool>),
    Registers(Vec<u16>),
}

impl Function {
    fn name(self) -> &'static str {
        match self {
            Self::Coils => "coils",
            Self::Discrete => "discrete inputs",
            Self::Holding => "holding registers",
            Self::Input => "input registers",
        }
    }

    fn has_bits(self) -> bool {
        matches!(self, Self::Coils | Self::Discrete)
    }
}

impl Type {
    fn is_pair(self) -> bool {
        matches!(self, Self::U32 | Self::I32 | Self::F32)
    }
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    args.check().map_err(|text| Failure::with_code(text, USAGE))?;
    let runtime = runtime(1)?;
    let done = runtime.block_on(ask(args));
    runtime.shutdown_background();
    say(&done?)
}

impl Args {
    /// What is wrong although every option can be read by itself.
    fn check(&self) -> Result<(), String> {
        let bits = self.function.has_bits();
        if !bits && self.count > 125 {
            return Err("--count: at most 125 registers can be read at once".to_owned());
        }
        if u32::from(self.address) + u32::from(self.count) > 0x1_0000 {
            return Err(format!("--count: the last address is 65535, {} from {} on go beyond it", self.count, self.address));
        }
        match self.shown_as {
            Some(_) if bits => Err("--type: is for registers".to_owned()),
            Some(kind) if kind.is_pair() && self.count % 2 == 1 => Err("--count: must be even, as each value is two registers".to_owned()),
            _ => Ok(()),
        }
    }
}

async fn ask(args: &Args) -> Result<String, Failure> {
    let limit = args.timeout.0.max(Duration::from_millis(1));
    let nobody = |text: String| Failure::with_code(text, UNAVAILABLE);
    let started = Instant::now();
    let stream = Dialler { timeout: limit, keepalive: false }.dial(&args.device).await.map_err(|e| nobody(e.to_string()))?;
    let connected = started.elapsed();
    let unit = Slave(args.unit);
    let mut device = if args.rtu_over_tcp { rtu::attach_slave(stream, unit) } else { tcp::attach_slave(stream, unit) };
    let sent = Instant::now();
    let (at, unit) = (&args.device, args.unit);
    let answer = tokio::time::timeout(limit, read(&mut device, args)).await;
    let answer = answer.map_err(|_| nobody(format!("{at}: connected, but unit {unit} gives no answer within {}", args.timeout)))?;
    let answered = sent.elapsed();
    let values = match answer {
        Ok(Ok(values)) => values,
        Ok(Err(exception)) => {
            let (code, meaning) = (u8::from(exception), meaning(exception));
            let took = ms(answered);
            return Err(Failure::new(format!("{at}: unit {unit} answers after {took} ms with exception {code}: {meaning}")));
        }
        Err(Error::Transport(error)) if error.kind() == std::io::ErrorKind::InvalidData => {
            return Err(Failure::new(format!(
                "{at}: what comes is no answer to a Modbus request: {}",
                printable(&error.to_string(), 200)
            )));
        }
        Err(Error::Transport(error)) => {
            return Err(nobody(format!("{at}: connected, but the connection ends without an answer: {}", reason(&error))));
        }
        Err(Error::Protocol(error)) => {
            return Err(Failure::new(format!("{at}: the answer does not fit the request: {}", printable(&error.to_string(), 200))));
        }
    };
    let what = args.function.name();
    let mut text = format!(
        "{at}, unit {unit}: {what} from {} on; connected after {} ms, answered after {} ms\n",
        args.address,
        ms(connected),
        ms(answered)
    );
    match values {
        Values::Bits(bits) => add_bits(&mut text, args.address, &bits),
        Values::Registers(registers) => add_registers(&mut text, args, &registers),
    }
    Ok(text.trim_end().to_owned())
}

async fn read(device: &mut Context, args: &Args) -> Result<Result<Values, ExceptionCode>, Error> {
    let (from, count) = (args.address, args.count);
    Ok(match args.function {
        Function::Coils => device.read_coils(from, count).await?.map(Values::Bits),
        Function::Discrete => device.read_discrete_inputs(from, count).await?.map(Values::Bits),
        Function::Holding => device.read_holding_registers(from, count).await?.map(Values::Registers),
        Function::Input => device.read_input_registers(from, count).await?.map(Values::Registers),
    })
}

fn ms(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}

fn add_bits(text: &mut String, from: u16, bits: &[bool]) {
    text.push_str("\naddress  value");
    for (at, bit) in (u32::from(from)..).zip(bits) {
        let _ = write!(text, "\n{at:7}  {:5}", u8::from(*bit));
    }
}

fn add_registers(text: &mut String, args: &Args, registers: &[u16]) {
    let addresses = u32::from(args.address)..;
    let Some(shown_as) = args.shown_as.filter(|kind| kind.is_pair()) else {
        let columns: &[Type] = match &args.shown_as {
            Some(one) => std::slice::from_ref(one),
            None => &[Type::Hex, Type::U16, Type::I16],
        };
        text.push_str("\naddress");
        for column in columns {
            let _ = write!(text, "  {:>6}", name(*column));
        }
        for (at, register) in addresses.zip(registers) {
            let _ = write!(text, "\n{at:7}");
            for column in columns {
                let _ = match column {
                    Type::I16 => write!(text, "  {:6}", register.cast_signed()),
                    Type::Hex => write!(text, "  0x{register:04x}"),
                    _ => write!(text, "  {register:6}"),
                };
            }
        }
        return;
    };
    let _ = write!(text, "\naddress  {:>10}  {:>14}", "hex", name(shown_as));
    for (at, pair) in addresses.step_by(2).zip(registers.chunks_exact(2)) {
        let [first, second] = pair else { continue };
        let (high, low) = if args.low_word_first { (second, first) } else { (first, second) };
        let value = u32::from(*high) << 16 | u32::from(*low);
        let _ = write!(text, "\n{at:7}  0x{value:08x}");
        let _ = match shown_as {
            Type::F32 => write!(text, "  {:14?}", f32::from_bits(value)),
            Type::I32 => write!(text, "  {:14}", value.cast_signed()),
            _ => write!(text, "  {value:14}"),
        };
    }
}

fn name(column: Type) -> &'static str {
    match column {
        Type::U16 => "u16",
        Type::I16 => "i16",
        Type::U32 => "u32",
        Type::I32 => "i32",
        Type::F32 => "f32",
        Type::Hex => "hex",
    }
}

/// What an exception means, in words.
fn meaning(exception: ExceptionCode) -> &'static str {
    match exception {
        ExceptionCode::IllegalFunction => "illegal function: the device does not have it, or does not allow it",
        ExceptionCode::IllegalDataAddress => "illegal data address: the device does not have all that was asked for",
        ExceptionCode::IllegalDataValue => "illegal data value: the device does not take this count",
        ExceptionCode::ServerDeviceFailure => "device failure: it could not do it",
        ExceptionCode::Acknowledge => "acknowledge: the device is at work on it, and has no answer yet",
        ExceptionCode::ServerDeviceBusy => "device busy: ask again later",
        ExceptionCode::MemoryParityError => "memory parity error: the device's memory is damaged",
        ExceptionCode::GatewayPathUnavailable => "no path: the gateway has no way to this unit",
        ExceptionCode::GatewayTargetDevice => "no answer: the device behind the gateway is silent, or there is no such unit",
        ExceptionCode::Custom(_) => "the standard does not say what it means, the device's manual may",
    }
}
