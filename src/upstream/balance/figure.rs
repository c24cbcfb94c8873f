//! Draws the figure of the manual from the simulation.

use std::fmt::Write;

use super::BalancePolicy;
use super::simulation::{Member, World};

const SECONDS: usize = 30;
/// When one member becomes slow.
const SLOW_FROM_S: usize = 10;
/// The axis of milliseconds is logarithmic, between these.
const MS: (f64, f64) = (10.0, 100_000.0);
/// Left, right, top and bottom of the plot.
const BOX: [f64; 4] = [70.0, 700.0, 40.0, 300.0];

#[test]
#[ignore = "it writes docs/balancing.svg; run it after the choice has changed"]
fn the_figure_of_the_manual() {
    let policies =
        [(BalancePolicy::P2c, "p2c", "#1565c0"), (BalancePolicy::RoundRobin, "round_robin", "#c62828")];
    let lines = policies.map(|(policy, name, colour)| (p99_ms_by_second(policy), name, colour));
    std::fs::write("docs/balancing.svg", svg(&lines)).expect("the project's folder");
}

/// 64 cores, 16 members, 80 % load, one member at a quarter of its speed after a while.
fn p99_ms_by_second(policy: BalancePolicy) -> Vec<f64> {
    let mut world = World::new(policy, 64, &[1; 16], 0.8);
    let second = |second: usize| {
        if second == SLOW_FROM_S {
            world.members[0] = Member::Serves(40_000.0);
        }
        world.run(1.0).p99_ms()
    };
    (0..SECONDS).map(second).collect()
}

fn x(second: f64) -> f64 {
    BOX[0] + (BOX[1] - BOX[0]) * second / SECONDS as f64
}

fn y(ms: f64) -> f64 {
    let height = (ms.clamp(MS.0, MS.1) / MS.0).log10() / (MS.1 / MS.0).log10();
    BOX[3] - (BOX[3] - BOX[2]) * height
}

fn svg(lines: &[(Vec<f64>, &str, &str)]) -> String {
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 820 350\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"820\" height=\"350\" fill=\"#fff\"/>\n\
         <text x=\"70\" y=\"22\">99th percentile of latency, in ms</text>\n",
    );
    let [left, right, top, bottom] = BOX;
    for ms in [10, 100, 1_000, 10_000, 100_000] {
        let at = y(f64::from(ms));
        let _ = writeln!(
            svg,
            "<path d=\"M{left} {at:.0}H{right}\" stroke=\"#ddd\"/>\
             <text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{ms}</text>",
            left - 8.0,
            at + 4.0
        );
    }
    for second in (0..=SECONDS).step_by(5) {
        let (at, below) = (x(second as f64), bottom + 20.0);
        let _ =
            writeln!(svg, "<text x=\"{at:.0}\" y=\"{below:.0}\" text-anchor=\"middle\">{second} s</text>");
    }
    let slow = x(SLOW_FROM_S as f64);
    let _ = writeln!(
        svg,
        "<path d=\"M{slow:.0} {top}V{bottom}\" stroke=\"#999\" stroke-dasharray=\"4\"/>\
         <text x=\"{:.0}\" y=\"{:.0}\" fill=\"#555\">one of 16 at a quarter of its speed</text>",
        slow + 6.0,
        top + 12.0
    );
    for (p99, name, colour) in lines {
        let points =
            p99.iter().enumerate().map(|(second, ms)| format!("{:.1},{:.1}", x(second as f64 + 0.5), y(*ms)));
        let points = points.collect::<Vec<_>>().join(" ");
        let last = y(p99.last().copied().unwrap_or(MS.0)) + 4.0;
        let _ = writeln!(
            svg,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <text x=\"{:.0}\" y=\"{last:.0}\" fill=\"{colour}\">{name}</text>",
            right + 4.0
        );
    }
    svg.push_str("</svg>\n");
    svg
}
