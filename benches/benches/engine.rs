//! The engine alone, from parsed frame to rewritten frame: `cargo bench -p adit-benches`.

use benches::rig::Rig;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dataplane::limits::BATCH_FRAMES_MAX;

fn established(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("established");
    group.throughput(Throughput::Elements(BATCH_FRAMES_MAX as u64));
    for flows in [1, 1_000, 65_536, 1_048_576] {
        let mut rig = Rig::new(flows);
        rig.open(flows);
        for (direction, is_forward) in [("forward", true), ("return", false)] {
            group.bench_function(format!("{direction}/{flows}"), |bencher| {
                bencher.iter(|| rig.hit(is_forward));
            });
        }
    }
    group.finish();
}

fn refused(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("refused");
    group.throughput(Throughput::Elements(BATCH_FRAMES_MAX as u64));
    let mut rig = Rig::new(1_000);
    rig.open(1_000);
    group.bench_function("no_rule", |bencher| bencher.iter(|| rig.miss()));
    group.finish();
}

criterion_group!(engine, established, refused);
criterion_main!(engine);
