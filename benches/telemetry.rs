//! What measuring costs a request: the promise is under 100 ns for recording its times.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use munim::http::budget::{plan, route_number};
use munim::http::router::ROUTES;
use munim::http::timing::{STAGE_NAMES, Stage, Timing};
use munim::telemetry::{Detail, Observation, Telemetry, Tracer};

fn bench_telemetry(criterion: &mut Criterion) {
    let telemetry = Telemetry::new(plan(), Tracer::off());
    let route = route_number(&ROUTES[0]);
    let mut stages_ns = [0; STAGE_NAMES.len()];
    for (stage, ns) in [
        (Stage::Accept, 900),
        (Stage::Idem, 700),
        (Stage::Parse, 1_100),
        (Stage::Decide, 2_000),
        (Stage::Journal, 600_000),
        (Stage::Wake, 40_000),
        (Stage::Render, 1_000),
    ] {
        stages_ns[stage as usize] = ns;
    }
    // The slowest come first, so that what follows is what most requests are.
    for _ in 0..8 {
        let slow = Observation { route, status: 201, stages_ns: &stages_ns, total_ns: 4_000_000, request: 1 };
        telemetry.observe(&slow, Detail::default);
    }
    let mut turn = 0u64;
    criterion.bench_function("observe", |bencher| {
        bencher.iter(|| {
            turn = turn.wrapping_add(7_919);
            stages_ns[Stage::Journal as usize] = 400_000 + turn % 400_000;
            let total_ns = stages_ns.iter().sum();
            let seen = Observation { route, status: 201, stages_ns: &stages_ns, total_ns, request: turn };
            telemetry.observe(black_box(&seen), Detail::default);
        });
    });
    criterion.bench_function("begin_trace_of_nobody", |bencher| {
        bencher.iter(|| telemetry.tracer.begin(black_box(7), None));
    });
    criterion.bench_function("finish_and_header", |bencher| {
        let timing = Timing::start();
        bencher.iter(|| black_box(&timing).finish(None).header());
    });
    criterion.bench_function("gather", |bencher| bencher.iter(|| telemetry.gather()));
}

criterion_group!(benches, bench_telemetry);
criterion_main!(benches);
