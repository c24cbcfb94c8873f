//! For `instructions.py`: names the pure cases; with a name, runs that one, for callgrind to see.

use std::process::ExitCode;

use micro::{CASES, Step};

fn main() -> ExitCode {
    let mut pure = CASES.iter().filter(|case| case.is_pure);
    let Some(wanted) = std::env::args().nth(1) else {
        pure.for_each(|case| println!("{}", case.name));
        return ExitCode::SUCCESS;
    };
    let Some(case) = pure.find(|case| case.name == wanted) else {
        eprintln!("there is no pure case {wanted}");
        return ExitCode::from(2);
    };
    // A map's hash is seeded anew for each preparation, and now and then two keys meet by chance.
    for _ in 0..PREPARATIONS {
        let mut step = (case.prepare)();
        (0..WARM_UP).for_each(|_| step());
        counted(&mut step);
    }
    ExitCode::SUCCESS
}

/// Nothing else is counted: the step, and for each turn a call through a pointer and the loop's few instructions.
#[inline(never)]
fn counted(step: &mut Step) {
    for _ in 0..TURNS {
        step();
    }
}

const PREPARATIONS: u32 = 9;
const WARM_UP: u32 = 10;
/// `instructions.py` divides by it.
const TURNS: u32 = 1_000;
