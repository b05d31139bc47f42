//! The engine alone, from received frame to rewritten frame, in clocks for a packet:
//! `cargo bench -p adit-benches`. Building the packets is not in the figures.

use benches::rig::{Rig, Setup};
use criterion::measurement::{Measurement, ValueFormatter};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dataplane::limits::BATCH_FRAMES_MAX;

/// Clocks of the time stamp counter, as the rig counts them around each call of the engine.
struct Clocks;

impl Measurement for Clocks {
    type Intermediate = u64;
    type Value = u64;

    fn start(&self) -> u64 {
        benches::clocks::now()
    }

    fn end(&self, start: u64) -> u64 {
        benches::clocks::now() - start
    }

    fn add(&self, one: &u64, other: &u64) -> u64 {
        one + other
    }

    fn zero(&self) -> u64 {
        0
    }

    fn to_f64(&self, value: &u64) -> f64 {
        *value as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        &ClocksFormatter
    }
}

struct ClocksFormatter;

impl ValueFormatter for ClocksFormatter {
    fn scale_values(&self, _typical: f64, _values: &mut [f64]) -> &'static str {
        "clocks/batch"
    }

    fn scale_throughputs(
        &self,
        _typical: f64,
        throughput: &Throughput,
        values: &mut [f64],
    ) -> &'static str {
        if let Throughput::Elements(packets) = throughput {
            values.iter_mut().for_each(|value| *value /= *packets as f64);
        }
        "clocks/packet"
    }

    fn scale_for_machines(&self, _values: &mut [f64]) -> &'static str {
        "clocks/batch"
    }
}

fn established(criterion: &mut Criterion<Clocks>) {
    let mut group = criterion.benchmark_group("established");
    group.throughput(Throughput::Elements(BATCH_FRAMES_MAX as u64));
    for flows in [1, 1_000, 65_536, 1_048_576] {
        let mut rig = Rig::new(flows, Setup::default());
        rig.open(flows);
        for (direction, is_forward) in [("forward", true), ("return", false)] {
            group.bench_function(format!("{direction}/{flows}"), |bencher| {
                bencher.iter_custom(|batches| (0..batches).map(|_| rig.hit(is_forward)).sum());
            });
        }
    }
    group.finish();
}

fn refused(criterion: &mut Criterion<Clocks>) {
    let mut group = criterion.benchmark_group("refused");
    group.throughput(Throughput::Elements(BATCH_FRAMES_MAX as u64));
    let mut rig = Rig::new(1_000, Setup::default());
    rig.open(1_000);
    group.bench_function("no_rule", |bencher| {
        bencher.iter_custom(|batches| (0..batches).map(|_| rig.miss()).sum());
    });
    group.finish();
}

criterion_group! {
    name = engine;
    config = Criterion::default().with_measurement(Clocks);
    targets = established, refused
}
criterion_main!(engine);
