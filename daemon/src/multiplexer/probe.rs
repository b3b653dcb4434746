//! Trying out a multiplexer's spec: its listening address and its devices, all at the same time.

use std::path::Path;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};

use super::spec::MultiplexerSpec;
use crate::flow::{Finding, Prober};

/// What is found about each address, in the order of the form.
pub(super) fn probe(spec: &MultiplexerSpec, prober: Prober) -> BoxFuture<'static, Vec<Finding>> {
    let targets = spec.target.iter().map(|target| ("/target".to_owned(), target));
    let routes = spec.routes.iter().enumerate().map(|(i, route)| (format!("/routes/{i}/target"), &route.target));
    let whom: Vec<_> = targets
        .chain(routes)
        .flat_map(|(field, all)| all.all().iter().enumerate().map(move |(i, at)| (format!("{field}{}", all.pointer(i)), at.clone())))
        .collect();
    let (listen, within, serial) = (spec.listen, spec.connect_timeout.0, spec.serial.clone());
    async move {
        let mut findings = vec![prober.listen("/listen", listen, false)];
        if let Some(serial) = serial {
            // Opening it would disturb the flow that uses it.
            let (ok, text) = match Path::new(&serial.device).try_exists() {
                Ok(true) => (Some(true), format!("{} is there", serial.device)),
                Ok(false) => (Some(false), format!("{} is not there", serial.device)),
                Err(error) => (Some(false), format!("{}: {}", serial.device, crate::text::reason(&error))),
            };
            findings.push(Finding::new("/serial/device", ok, text));
        }
        let prober = &prober;
        findings.extend(join_all(whom.into_iter().map(|(pointer, at)| async move { prober.dial(pointer, at, within).await })).await);
        findings
    }
    .boxed()
}
