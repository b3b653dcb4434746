//! Beside another implementation on both sides: devices and clients of `tokio-modbus`, which frames on its own.

use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::net::TcpListener;
use tokio_modbus::client::{Reader as _, Writer as _, tcp};
use tokio_modbus::server::Service;
use tokio_modbus::server::tcp::{Server, accept_tcp_connection};
use tokio_modbus::{ExceptionCode, Request, Response, Slave, SlaveRequest};

use crate::support::*;

/// Registers that hold unit * 1000 + address, from 500 on what was written there.
#[derive(Clone, Default)]
struct Device(Arc<Mutex<std::collections::HashMap<(u8, u16), u16>>>);

impl Device {
    fn register(&self, unit: u8, address: u16) -> u16 {
        self.0.lock().unwrap().get(&(unit, address)).copied().unwrap_or(u16::from(unit) * 1000 + address)
    }
}

impl Service for Device {
    type Request = SlaveRequest<'static>;
    type Response = Response;
    type Exception = ExceptionCode;
    type Future = Ready<Result<Response, ExceptionCode>>;

    fn call(&self, SlaveRequest { slave, request }: Self::Request) -> Self::Future {
        ready(match request {
            Request::ReadHoldingRegisters(first, count) => {
                Ok(Response::ReadHoldingRegisters((first..first + count).map(|at| self.register(slave, at)).collect()))
            }
            Request::ReadInputRegisters(first, count) => {
                Ok(Response::ReadInputRegisters((first..first + count).map(|at| self.register(slave, at)).collect()))
            }
            Request::WriteMultipleRegisters(first, values) => {
                for (at, value) in (first..).zip(&*values) {
                    self.0.lock().unwrap().insert((slave, at), *value);
                }
                Ok(Response::WriteMultipleRegisters(first, values.len() as u16))
            }
            Request::Custom(function, data) => Ok(Response::Custom(function, data.iter().rev().copied().collect::<Vec<u8>>().into())),
            _ => Err(ExceptionCode::IllegalFunction),
        })
    }
}

async fn client(at: SocketAddr, unit: u8, own: u16) {
    let mut device = tcp::connect_slave(at, Slave(unit)).await.unwrap();
    for n in 0..60 {
        let read = device.read_holding_registers(n, 3).await.unwrap().unwrap();
        assert_eq!(read, [0, 1, 2].map(|i| u16::from(unit) * 1000 + n + i));
        device.write_multiple_registers(own, &[n, n + 1]).await.unwrap().unwrap();
        assert_eq!(device.read_input_registers(own, 2).await.unwrap().unwrap(), [n, n + 1]);
        assert_eq!(device.read_coils(0, 1).await.unwrap(), Err(ExceptionCode::IllegalFunction));
    }
    let custom = tokio_modbus::client::Client::call(&mut device, Request::Custom(0x65, vec![1, 2, 3].into()))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(custom, Response::Custom(0x65, vec![3, 2, 1].into()));
}

#[test]
fn its_clients_and_its_devices_understand_each_other_through_a_multiplexer() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let device = Device::default();
            let connected = |stream, from| {
                let device = device.clone();
                async move { accept_tcp_connection(stream, from, move |_| Ok(Some(device.clone()))) }
            };
            Server::new(listener).serve(&connected, |error| panic!("{error}")).await.unwrap();
        });
        for more in [json!({}), json!({"in_flight": 8}), json!({"max_connections": 3, "in_flight": 2, "cache": [{"ttl": 5}]})] {
            let daemon = Daemon::start();
            let mut spec = json!({"listen": "127.0.0.1:0", "target": target, "protocol": "modbus"});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let at = daemon.flow("multiplexer", "inverter", &spec);
            let clients: Vec<_> = (0..6).map(|n| tokio::spawn(client(at, 1 + n % 3, 500 + 2 * u16::from(n)))).collect();
            for client in clients {
                client.await.unwrap();
            }
        }
    });
}
