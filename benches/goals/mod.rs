//! What a measurement is for: the figures that were promised, each beside what came of it.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "shared by measurements that each use a part of it"
)]

/// What was promised, and what came of it.
#[derive(Default)]
pub struct Goals {
    lines: Vec<String>,
    missed: usize,
}

impl Goals {
    /// Notes a figure that must not be larger than its bound.
    pub fn at_most(&mut self, what: &str, value: f64, bound: f64) {
        self.line(what, value, "at most", bound, value <= bound);
    }

    /// Notes a figure that must not be smaller than its bound.
    pub fn at_least(&mut self, what: &str, value: f64, bound: f64) {
        self.line(what, value, "at least", bound, value >= bound);
    }

    fn line(&mut self, what: &str, value: f64, word: &str, bound: f64, met: bool) {
        self.missed += usize::from(!met);
        let verdict = if met { "met" } else { "MISSED" };
        self.lines.push(format!(
            "{what:<64} {value:>8.2}   {word:>8} {bound:>6.2}   {verdict}"
        ));
    }

    /// Prints them all, and ends the process with an error where one was missed.
    pub fn end(&self) {
        println!("Goals");
        self.lines.iter().for_each(|line| println!("{line}"));
        if self.missed > 0 {
            println!("{} missed", self.missed);
            std::process::exit(1);
        }
    }
}
