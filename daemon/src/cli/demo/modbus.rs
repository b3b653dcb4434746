//! An inverter that takes one connection, and three clients that it serves all the same.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::TcpStream;
use tokio_modbus::Slave;
use tokio_modbus::client::{Context, Reader as _, Writer as _, tcp};

use super::inverter::{Inverter, factory_value};
use super::{STEP, end, start};
use crate::cli::multiplex::KIND;
use crate::cli::{Failure, say};

pub(super) async fn show() -> Result<(), Failure> {
    let inverter = Inverter::start().await?;
    say(&format!("inverter  {} takes one connection, and drops everybody when a second comes", inverter.address))?;

    let mut first = connect(inverter.address).await?;
    read(&mut first, 0).await?;
    let mut second = connect(inverter.address).await?;
    if read(&mut second, 0).await.is_ok() || read(&mut first, 0).await.is_ok() {
        return Err(Failure::new("the inverter takes two connections"));
    }
    say("without   a second client comes: both have lost their connection")?;
    let before = inverter.connections();

    let (flows, listen) = start(KIND, json!({"listen": "127.0.0.1:0", "target": inverter.address.to_string(), "protocol": "modbus"})).await?;
    say(&format!("domoflux  {listen} shares one connection among three clients\n"))?;
    let (fast, slow, writer) =
        tokio::try_join!(reads(listen, 0, 60, Duration::ZERO), reads(listen, 500, 6, Duration::from_millis(200)), writes(listen))?;
    say(&format!("fast      {fast}\nslow      {slow}\nwriter    {writer}"))?;
    let after = inverter.connections();
    say(&format!("inverter  had {} connection, and has dropped {}\n", after.0 - before.0, after.1 - before.1))?;
    if after.0 - before.0 != 1 || after.1 != before.1 {
        return Err(Failure::new("the inverter had more than one connection"));
    }
    end(&flows, KIND).await
}

/// Reads ten registers several times, which must be this client's own each time.
async fn reads(from: SocketAddr, address: u16, times: u32, pause: Duration) -> Result<String, Failure> {
    let mut client = connect(from).await?;
    let expected: Vec<u16> = (address..address + 10).map(factory_value).collect();
    let started = Instant::now();
    for _ in 0..times {
        let got = read(&mut client, address).await?;
        if got != expected {
            return Err(Failure::new(format!("registers from {address} on: {got:?} came, and not {expected:?}")));
        }
        tokio::time::sleep(pause).await;
    }
    let each = started.elapsed().saturating_sub(pause * times).as_secs_f64() * 1000.0 / f64::from(times);
    Ok(format!(
        "read registers {address} to {} {times} times, {each:.0} ms each: all answers are its own",
        address + 9
    ))
}

/// Writes a register and reads it, several times.
async fn writes(to: SocketAddr) -> Result<String, Failure> {
    const REGISTER: u16 = 900;
    const TIMES: u16 = 15;
    let mut client = connect(to).await?;
    for value in 0..TIMES {
        let written = tokio::time::timeout(STEP, client.write_single_register(REGISTER, value)).await;
        written
            .map_err(|_| silence())?
            .map_err(|error| Failure::new(error.to_string()))?
            .map_err(|error| Failure::new(error.to_string()))?;
        let got = read(&mut client, REGISTER).await?;
        if got.first() != Some(&value) {
            return Err(Failure::new(format!("register {REGISTER} has {got:?} after {value} was written")));
        }
    }
    Ok(format!("wrote register {REGISTER} {TIMES} times, and read each time what it had written"))
}

async fn connect(to: SocketAddr) -> Result<Context, Failure> {
    Ok(tcp::attach_slave(TcpStream::connect(to).await?, Slave(1)))
}

async fn read(client: &mut Context, address: u16) -> Result<Vec<u16>, Failure> {
    let answer = tokio::time::timeout(STEP, client.read_holding_registers(address, 10)).await.map_err(|_| silence())?;
    answer.map_err(|error| Failure::new(error.to_string()))?.map_err(|error| Failure::new(error.to_string()))
}

fn silence() -> Failure {
    Failure::new("no answer came through the multiplexer")
}
