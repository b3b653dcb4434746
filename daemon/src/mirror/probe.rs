//! Trying out a mirror's spec: its listening address, its targets, its mirrors, all at the same time.

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};

use super::spec::{MirrorSpec, Protocol};
use crate::flow::{Finding, Prober};

/// What is found about each address, in the order of the form.
pub(super) fn probe(spec: &MirrorSpec, prober: Prober) -> BoxFuture<'static, Vec<Finding>> {
    let targets = spec.target.all().iter().enumerate().map(|(i, at)| (format!("/target{}", spec.target.pointer(i)), at));
    let mirrors = spec.mirrors.iter().enumerate().map(|(i, leg)| (format!("/mirrors/{i}/address"), &leg.address));
    let whom: Vec<_> = targets.chain(mirrors).map(|(pointer, address)| (pointer, address.clone())).collect();
    let (listen, udp, within) = (spec.listen, spec.protocol == Protocol::Udp, spec.connect_timeout.0);
    async move {
        let mut findings = vec![prober.listen("/listen", listen, udp)];
        let prober = &prober;
        findings.extend(
            join_all(whom.into_iter().map(|(pointer, address)| async move {
                if udp { prober.send_to(pointer, address, within).await } else { prober.dial(pointer, address, within).await }
            }))
            .await,
        );
        findings
    }
    .boxed()
}
