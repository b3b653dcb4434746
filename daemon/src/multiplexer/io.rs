//! The two kinds of connection to a device: TCP, and a serial line.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_serial::{ClearBuffer, SerialPort, SerialPortBuilderExt, SerialStream};

use super::spec::{Parity, SerialSpec};
use crate::text::reason;

/// What has come on a connection on which nothing is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    None,
    Bytes,
    /// The device has closed it.
    End,
}

/// A connection to a device.
pub(super) enum Io {
    Tcp(TcpStream),
    Serial(Box<SerialStream>),
}

impl Io {
    /// Opens a serial line, for this process alone.
    pub(super) fn open(spec: &SerialSpec) -> Result<Self, String> {
        let builder = tokio_serial::new(&spec.device, spec.baud_rate)
            .data_bits(if spec.data_bits == 7 { tokio_serial::DataBits::Seven } else { tokio_serial::DataBits::Eight })
            .parity(match spec.parity {
                Parity::None => tokio_serial::Parity::None,
                Parity::Even => tokio_serial::Parity::Even,
                Parity::Odd => tokio_serial::Parity::Odd,
            })
            .stop_bits(if spec.stop_bits == 2 { tokio_serial::StopBits::Two } else { tokio_serial::StopBits::One });
        match builder.open_native_async() {
            Ok(stream) => Ok(Self::Serial(Box::new(stream))),
            Err(error) => {
                let hint = match error.kind() {
                    tokio_serial::ErrorKind::Io(io::ErrorKind::PermissionDenied) => " (the daemon's user must be in the group dialout)",
                    _ => "",
                };
                Err(format!("cannot open {}: {}{hint}", spec.device, reason(&error.into())))
            }
        }
    }

    pub(super) fn is_serial(&self) -> bool {
        matches!(self, Self::Serial(_))
    }

    /// Forgets what has come on a serial line and was not asked for.
    pub(super) fn forget_noise(&self) {
        if let Self::Serial(stream) = self {
            let _ = stream.clear(ClearBuffer::Input);
        }
    }

    /// Forgets everything that has come so far.
    pub(super) fn forget_all(&self) {
        self.forget_noise();
        let Self::Tcp(stream) = self else { return };
        let mut rest = [0; 512];
        for _ in 0..128 {
            if !matches!(recv(stream, &mut rest[..], RecvFlags::DONTWAIT), Ok((1.., _))) {
                return;
            }
        }
    }

    /// What a TCP connection has to say before it is asked. It asks the kernel, which knows more than the last look at all
    /// sockets has told.
    pub(super) fn news(&self) -> News {
        let Self::Tcp(stream) = self else { return News::None };
        match recv(stream, &mut [0; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((0, _)) => News::End,
            Ok(_) => News::Bytes,
            Err(Errno::AGAIN | Errno::INTR) => News::None,
            Err(_) => News::End,
        }
    }

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(into);
        match self {
            Self::Tcp(stream) => ready!(Pin::new(stream).poll_read(cx, &mut buffer))?,
            Self::Serial(stream) => ready!(Pin::new(stream).poll_read(cx, &mut buffer))?,
        }
        Poll::Ready(Ok(buffer.filled().len()))
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, data),
            Self::Serial(stream) => Pin::new(stream).poll_write(cx, data),
        }
    }
}

/// The silence that ends a frame on a serial line, 3.5 characters, but at least 1.75 ms above 19,200 bits a second (Modbus over
/// serial line V1.02, 2.5.1.1).
pub(super) fn silence(spec: &SerialSpec) -> Duration {
    let bits = 1 + u32::from(spec.data_bits) + u32::from(spec.parity != Parity::None) + u32::from(spec.stop_bits);
    let character = Duration::from_secs(1) * bits / spec.baud_rate.max(1);
    if spec.baud_rate > 19_200 { Duration::from_micros(1750) } else { character.mul_f64(3.5) }
}
