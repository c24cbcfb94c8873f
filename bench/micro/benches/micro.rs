//! How long each step takes.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

fn steps(criterion: &mut Criterion) {
    for case in micro::CASES {
        let mut step = (case.prepare)();
        criterion.bench_function(case.name, |bencher| bencher.iter(&mut step));
    }
}

/// Steps of some 10 ns to 3 µs: a second is a million turns of most of them.
fn settings() -> Criterion {
    let (warm_up, measurement) = (Duration::from_millis(300), Duration::from_secs(1));
    Criterion::default().warm_up_time(warm_up).measurement_time(measurement)
}

criterion_group!(name = micro; config = settings(); targets = steps);
criterion_main!(micro);
