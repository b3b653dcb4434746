//! The figures that every contestant has, taken in turn within each round so that whatever else the machine does hits
//! all of them.

use crate::contestant::Contestant;
use crate::options::Sizes;
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

const VOICES: usize = 32;

/// What one sample gave: figures by their key.
type Sample = Vec<(&'static str, f64)>;
type Measure = fn(Contestant, &Sizes) -> Result<Sample, String>;

/// Adds a round's samples to `table`, and what went wrong to `faults`.
pub(crate) fn round(table: &mut Table, round: usize, who: &[Contestant], sizes: &Sizes, faults: &mut Vec<String>) {
    let measures: [(&str, Measure); 4] = [("bulk", bulk), ("echo", echo), ("chorus", chorus), ("visits", visits)];
    for (name, measure) in measures {
        for &who in who {
            match measure(who, sizes) {
                Ok(sample) => sample.into_iter().for_each(|(key, value)| table.add(key, who.name(), round, value)),
                Err(fault) => crate::fail(faults, format!("{} in {name}: {fault}", who.name())),
            }
        }
    }
}

fn bulk(who: Contestant, sizes: &Sizes) -> Result<Sample, String> {
    let mut stage = Stage::set(who, Ends::BULK)?;
    let before = stage.proxy.as_ref().map(|p| p.process.cpu_seconds());
    let (answer, client) = stage.client("bulk", &[sizes.bulk_ms])?;
    // While the client still holds its connection: a process a connection would take its times with it.
    let after = stage.proxy.as_ref().map(|p| p.process.cpu_seconds());
    drop(client);
    let gigabytes = number(&answer, "bytes") / 1e9;
    check(&mut stage, who, &answer)?;
    let mut sample = vec![("bulk", gigabytes / number(&answer, "seconds"))];
    sample.extend(before.zip(after).map(|(before, after)| ("cpu", (after - before) / gigabytes)));
    Ok(sample)
}

fn echo(who: Contestant, sizes: &Sizes) -> Result<Sample, String> {
    let mut stage = Stage::set(who, Ends::ECHO)?;
    let answer = stage.run("echo", &[sizes.trips])?;
    check(&mut stage, who, &answer)?;
    Ok(vec![("p50", number(&answer, "p50_us")), ("p99", number(&answer, "p99_us"))])
}

fn chorus(who: Contestant, sizes: &Sizes) -> Result<Sample, String> {
    let mut stage = Stage::set(who, Ends::ECHO)?;
    let answer = stage.run("chorus", &[VOICES, sizes.chorus_ms])?;
    check(&mut stage, who, &answer)?;
    Ok(vec![("chorus", number(&answer, "per_second"))])
}

fn visits(who: Contestant, sizes: &Sizes) -> Result<Sample, String> {
    let mut stage = Stage::set(who, Ends::ECHO)?;
    let answer = stage.run("visits", &[sizes.visits_ms])?;
    check(&mut stage, who, &answer)?;
    Ok(vec![("visits", number(&answer, "per_second"))])
}

fn check(stage: &mut Stage, who: Contestant, answer: &serde_json::Value) -> Result<(), String> {
    let sent = answer["bytes"].as_u64().unwrap_or(0);
    stage.check_target(sent)?;
    if who == Contestant::Domoflux { stage.check_mirror(sent) } else { Ok(()) }
}
