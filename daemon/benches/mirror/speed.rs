//! The figures that every contestant has, taken in turn within each round so that whatever else the machine does hits
//! all of them.

use crate::contestant::Contestant;
use crate::options::Sizes;
use crate::report::Report;
use crate::stage::{Ends, Stage, number};
use crate::table::{Figure, Table};

pub(crate) const FIGURES: [Figure; 6] = [
    Figure { key: "bulk", title: "one stream, GB/s", relative: true },
    Figure { key: "cpu", title: "  CPU, s/GB", relative: false },
    Figure { key: "p50", title: "64-byte echo, p50, us", relative: true },
    Figure { key: "p99", title: "  p99, us", relative: true },
    Figure { key: "chorus", title: "32 connections, messages/s", relative: true },
    Figure { key: "visits", title: "connections/s", relative: true },
];

pub(crate) const VOICES: usize = 32;

/// A mirror that had to wait for a processor may be detached, as its queue is bounded; then the sample is none of
/// mirroring and is taken again, so many times in all.
const ATTEMPTS: usize = 3;

/// What one sample gave: figures by their key.
pub(crate) type Sample = Vec<(&'static str, f64)>;
type Measure = fn(Contestant, &Sizes) -> Result<Sample, String>;

/// Adds a round's samples to `table`, and what went wrong to `report`.
pub(crate) fn round(table: &mut Table, round: usize, who: &[Contestant], sizes: &Sizes, report: &mut Report) {
    let measures: [(&str, Measure); 4] = [
        ("bulk", |who, sizes| bulk(who, Ends::BULK, sizes)),
        ("echo", |who, sizes| echo(who, Ends::LATENCY, sizes)),
        ("chorus", |who, sizes| rate("chorus", who, Ends::ECHO, &[VOICES, sizes.chorus_ms])),
        ("visits", |who, sizes| rate("visits", who, Ends::ECHO, &[sizes.visits_ms])),
    ];
    for (name, measure) in measures {
        for &who in who {
            match measure(who, sizes) {
                Ok(sample) => sample.into_iter().for_each(|(key, value)| table.add(key, who.name(), round, value)),
                Err(fault) => report.fail(format!("{} in {name}: {fault}", who.name())),
            }
        }
    }
}

/// One stream as fast as it goes.
pub(crate) fn bulk(who: Contestant, ends: Ends, sizes: &Sizes) -> Result<Sample, String> {
    for _ in 0..ATTEMPTS {
        let mut stage = Stage::set(who, ends)?;
        let (sample, sent) = stream(&mut stage, sizes)?;
        stage.check_target(sent)?;
        if who != Contestant::Domoflux || !ends.mirror_is_healthy() {
            return Ok(sample);
        }
        let got = stage.arrived_at_mirror(sent)?;
        if got == sent {
            return Ok(sample);
        }
        eprintln!("the mirror was detached after {got} of {sent} bytes: that sample does not count");
    }
    Err(format!("a mirror that reads as fast as it can was detached {ATTEMPTS} times in a row"))
}

fn stream(stage: &mut Stage, sizes: &Sizes) -> Result<(Sample, u64), String> {
    let before = stage.proxy.as_ref().map(|p| p.process.cpu_seconds());
    let (answer, client) = stage.client("bulk", &[sizes.bulk_ms])?;
    // While the client still holds its connection: a process a connection would take its times with it.
    let after = stage.proxy.as_ref().map(|p| p.process.cpu_seconds());
    drop(client);
    let gigabytes = number(&answer, "bytes") / 1e9;
    let mut sample = vec![("bulk", gigabytes / number(&answer, "seconds"))];
    sample.extend(before.zip(after).map(|(before, after)| ("cpu", (after - before) / gigabytes)));
    Ok((sample, sent(&answer)))
}

/// One connection, a message at a time.
pub(crate) fn echo(who: Contestant, ends: Ends, sizes: &Sizes) -> Result<Sample, String> {
    let mut stage = Stage::set(who, ends)?;
    let answer = stage.run("echo", &[sizes.trips])?;
    stage.check_target(sent(&answer))?;
    if who == Contestant::Domoflux && ends.mirror_is_healthy() {
        stage.check_mirror(sent(&answer))?;
    }
    Ok(vec![("p50", number(&answer, "p50_us")), ("p99", number(&answer, "p99_us"))])
}

/// What `client` does a second.
pub(crate) fn rate(client: &'static str, who: Contestant, ends: Ends, numbers: &[usize]) -> Result<Sample, String> {
    let mut stage = Stage::set(who, ends)?;
    let answer = stage.run(client, numbers)?;
    stage.check_target(sent(&answer))?;
    if who == Contestant::Domoflux && ends.mirror_is_healthy() {
        stage.check_mirror(sent(&answer))?;
    }
    Ok(vec![(client, number(&answer, "per_second"))])
}

fn sent(answer: &serde_json::Value) -> u64 {
    answer["bytes"].as_u64().unwrap_or(0)
}
