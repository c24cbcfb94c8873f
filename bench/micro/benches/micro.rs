//! How long each step takes.

use criterion::{Criterion, criterion_group, criterion_main};

fn steps(criterion: &mut Criterion) {
    for case in micro::CASES {
        let mut step = (case.prepare)();
        criterion.bench_function(case.name, |bencher| bencher.iter(&mut step));
    }
}

criterion_group!(micro, steps);
criterion_main!(micro);
