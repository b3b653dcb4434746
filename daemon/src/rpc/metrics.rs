//! `/metrics`: the counters of all flows in the text format of Prometheus.

use std::fmt::Write as _;

use super::Daemon;
use crate::flow::{CounterDef, State, Unit};

/// All metrics of the daemon.
pub(super) fn render(daemon: &Daemon) -> String {
    let mut out = String::new();
    let budget = &daemon.flows.means().pool.budget;
    let _ = writeln!(out, "# HELP domoflux_info Version of the daemon.\n# TYPE domoflux_info gauge");
    let _ = writeln!(out, "domoflux_info{{version=\"{}\",instance=\"{}\"}} 1", env!("CARGO_PKG_VERSION"), daemon.instance);
    let _ = writeln!(out, "# HELP domoflux_uptime_seconds Seconds since the start.\n# TYPE domoflux_uptime_seconds counter");
    let _ = writeln!(out, "domoflux_uptime_seconds {}", daemon.started.elapsed().as_secs());
    let _ = writeln!(out, "# HELP domoflux_queue_bytes Bytes in relay queues.\n# TYPE domoflux_queue_bytes gauge");
    let _ = writeln!(out, "domoflux_queue_bytes {}", budget.used());
    let _ = writeln!(
        out,
        "# HELP domoflux_queue_limit_bytes Bytes that relay queues may hold.\n# TYPE domoflux_queue_limit_bytes gauge"
    );
    let _ = writeln!(out, "domoflux_queue_limit_bytes {}", budget.total());
    flows(daemon, &mut out);
    out
}

fn flows(daemon: &Daemon, out: &mut String) {
    let statuses = daemon.flows.list(None);
    let _ = writeln!(out, "# HELP domoflux_flow_serving Whether the flow serves.\n# TYPE domoflux_flow_serving gauge");
    for status in &statuses {
        let serving = u8::from(status.state == State::Serving);
        let _ = writeln!(out, "domoflux_flow_serving{{flow=\"{}\",kind=\"{}\"}} {serving}", status.id, status.kind);
    }
    for kind in crate::flow::KINDS {
        let of_kind: Vec<_> = statuses.iter().filter(|s| s.kind == kind.name()).collect();
        if of_kind.is_empty() {
            continue;
        }
        for (place, def) in kind.counters().iter().enumerate() {
            let name = metric_name(kind.name(), def);
            let _ = writeln!(out, "# HELP {name} {}.\n# TYPE {name} {}", def.title, if def.gauge { "gauge" } else { "counter" });
            for status in &of_kind {
                let ids = [status.id.clone()];
                let Ok(counters) = daemon.flows.counters(Some(&ids)) else { continue };
                let value = counters.values().next().map_or(0, |c| c.get(place));
                let _ = writeln!(out, "{name}{{flow=\"{}\"}} {value}", status.id);
            }
        }
    }
}

/// `clientRxBytes` of kind `mirror` → `domoflux_mirror_client_rx_bytes_total`. A unit that the name does not say is added.
fn metric_name(kind: &str, def: &CounterDef) -> String {
    let mut name = format!("domoflux_{}_", kind.replace('-', "_"));
    for c in def.name.chars() {
        if c.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    let unit = match def.unit {
        Unit::None | Unit::Packets => "",
        Unit::Bytes => "_bytes",
        Unit::Microseconds => "_microseconds",
    };
    if !name.ends_with(unit) {
        name.push_str(unit);
    }
    if !def.gauge {
        name.push_str("_total");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_says_its_unit_once() {
        let name_of = |kind: &str, counter: &str| {
            let table = crate::flow::find_kind(kind).expect("a kind").counters();
            metric_name(kind, table.iter().find(|def| def.name == counter).expect("a counter"))
        };
        assert_eq!(name_of("mirror", "clientRxBytes"), "domoflux_mirror_client_rx_bytes_total");
        assert_eq!(name_of("mirror", "spooledBytes"), "domoflux_mirror_spooled_bytes");
        assert_eq!(name_of("multiplexer", "requests"), "domoflux_multiplexer_requests_total");
        assert_eq!(name_of("multiplexer", "latencyP99"), "domoflux_multiplexer_latency_p99_microseconds");
    }
}
