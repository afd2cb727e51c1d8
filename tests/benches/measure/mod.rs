//! Measuring by turns.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Something to be timed.
pub struct Case<'a> {
    name: &'static str,
    run: Box<dyn FnMut() + 'a>,
    /// Nanoseconds a run, a round each.
    times: Vec<f64>,
}

impl<'a> Case<'a> {
    pub fn new(name: &'static str, run: impl FnMut() + 'a) -> Self {
        Case { name, run: Box::new(run), times: Vec::new() }
    }
}

const ROUNDS: usize = 41;
const ROUND: Duration = Duration::from_millis(12);

/// Times the cases by turns; the median of nanoseconds a run, of each.
pub fn in_turns(cases: &mut [Case<'_>]) -> Vec<f64> {
    let counts: Vec<u32> = cases.iter_mut().map(|case| calibrate(case, ROUND)).collect();
    for _ in 0..ROUNDS {
        for (case, count) in cases.iter_mut().zip(&counts) {
            let start = Instant::now();
            (0..*count).for_each(|_| (case.run)());
            case.times.push(start.elapsed().as_nanos() as f64 / f64::from(*count));
        }
    }
    cases.iter_mut().map(|case| median(&mut case.times)).collect()
}

/// What came of many short rounds by turns.
pub struct Rounds(Vec<Vec<f64>>);

/// As [`in_turns`] for what waits for another process: so short are the rounds
/// that what else the machine does meets all cases alike.
pub fn in_short_turns(cases: &mut [Case<'_>]) -> Rounds {
    const ROUND: Duration = Duration::from_millis(1);
    let counts: Vec<u32> = cases.iter_mut().map(|case| calibrate(case, ROUND)).collect();
    let mut order: Vec<usize> = (0..cases.len()).collect();
    for round in 0..1000u64 {
        // Nobody always comes after the same one.
        let hash = |case: &usize| (round << 8 | *case as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        order.sort_by_key(|case| hash(case) >> 32);
        for at in &order {
            let (case, count) = (&mut cases[*at], counts[*at]);
            let start = Instant::now();
            (0..count).for_each(|_| (case.run)());
            case.times.push(start.elapsed().as_nanos() as f64 / f64::from(count));
        }
    }
    Rounds(cases.iter_mut().map(|case| std::mem::take(&mut case.times)).collect())
}

impl Rounds {
    /// The median of a case, in nanoseconds a run.
    pub fn time(&self, case: usize) -> f64 {
        median(&mut self.0[case].clone())
    }

    /// The median of what a case took to what another took in the same round.
    pub fn ratio(&self, case: usize, base: usize) -> f64 {
        let pairs = self.0[case].iter().zip(&self.0[base]);
        median(&mut pairs.map(|(time, base)| time / base).collect::<Vec<f64>>())
    }
}

/// How many runs fill a round.
fn calibrate(case: &mut Case<'_>, round: Duration) -> u32 {
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < round {
        (case.run)();
        count += 1;
    }
    assert!(count > 0, "{} never ran", case.name);
    count
}

pub fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Runs a second of one thread and of two, by turns; the medians. Each thread
/// makes what it runs for itself.
pub fn throughput<R: FnMut()>(
    make: &(impl Fn() -> R + Sync),
    time: Duration,
    rounds: usize,
) -> (f64, f64) {
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        one.push(together(make, time, 1));
        two.push(together(make, time, 2));
    }
    (median(&mut one), median(&mut two))
}

fn together<R: FnMut()>(make: &(impl Fn() -> R + Sync), time: Duration, threads: usize) -> f64 {
    let stop = AtomicBool::new(false);
    let start = Barrier::new(threads + 1);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let (start, stop) = (&start, &stop);
                scope.spawn(move || {
                    let mut run = make();
                    start.wait();
                    let mut count = 0u64;
                    while !stop.load(Ordering::Relaxed) {
                        run();
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        start.wait();
        let begun = Instant::now();
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        let count: u64 = workers.into_iter().map(|w| w.join().unwrap_or(0)).sum();
        count as f64 / begun.elapsed().as_secs_f64()
    })
}

/// The figures, with their limits.
pub struct Table {
    lines: Vec<String>,
    /// How much slower this machine is than the one that limits in nanoseconds
    /// were set on.
    slower: f64,
}

impl Table {
    pub fn new(slower: f64) -> Self {
        Table { lines: Vec::new(), slower }
    }

    fn push(&mut self, name: &str, figure: String, limit: Option<(String, bool)>) {
        let limit = limit.map_or(String::new(), |(limit, kept)| {
            format!("  {limit} {}", if kept { "kept" } else { "MISSED" })
        });
        self.lines.push(format!("{name:<48} {figure:>14}{limit}"));
    }

    pub fn row(&mut self, name: &str, nanos: f64, limit: Option<f64>) {
        let limit = limit.map(|limit| {
            let here = limit * self.slower;
            (format!("at most {limit:.0} × {:.1} ns", self.slower), nanos <= here)
        });
        self.push(name, format!("{nanos:.0} ns"), limit);
    }

    pub fn limit(&mut self, name: &str, nanos: f64, limit: Option<f64>) {
        self.row(name, nanos, limit);
    }

    /// A time in microseconds, given in nanoseconds; limits are in microseconds.
    pub fn micros(&mut self, name: &str, nanos: f64, limit: Option<f64>) {
        let limit = limit.map(|limit| (format!("at most {limit} µs"), nanos <= limit * 1000.0));
        self.push(name, format!("{:.1} µs", nanos / 1000.0), limit);
    }

    /// A number of things.
    pub fn count(&mut self, name: &str, count: f64, unit: &str, most: Option<f64>) {
        let limit = most.map(|most| (format!("at most {most}"), count <= most));
        self.push(name, format!("{count:.0} {unit}"), limit);
    }

    pub fn ratio(&mut self, name: &str, ratio: f64, most: f64) {
        self.push(name, format!("{ratio:.2} ×"), Some((format!("at most {most}"), ratio <= most)));
    }

    /// A ratio that nothing is asked of.
    pub fn plain_ratio(&mut self, name: &str, ratio: f64) {
        self.push(name, format!("{ratio:.2} ×"), None);
    }

    pub fn ratio_at_least(&mut self, name: &str, ratio: f64, least: f64) {
        let limit = (format!("at least {least}"), ratio >= least);
        self.push(name, format!("{ratio:.2} ×"), Some(limit));
    }

    /// A heading.
    pub fn part(&mut self, name: &str) {
        self.lines.push(format!("\n{name}"));
    }

    /// Prints what has come since the last time.
    pub fn print(&mut self) {
        self.lines.drain(..).for_each(|line| println!("{line}"));
    }
}
