//! What the probes of one member say.

/// One member, judged by its probes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Active {
    /// Whether it is out.
    is_out: bool,
    is_known: bool,
    /// Results in a row that say something else than the verdict.
    row: u32,
}

impl Active {
    /// Whether the probes have taken it out.
    pub fn is_out(&self) -> bool {
        self.is_out
    }

    /// Whether it was probed at all.
    pub fn is_known(&self) -> bool {
        self.is_known
    }

    /// Takes the result of a probe. The first one decides alone, as nothing is known before it; of later ones it takes
    /// several in a row.
    pub fn probed(&mut self, is_healthy: bool, rise: u32, fall: u32) {
        let needed = match (self.is_known, self.is_out) {
            (false, _) => 1,
            (true, true) => rise,
            (true, false) => fall,
        };
        self.is_known = true;
        self.row = if is_healthy == self.is_out { self.row + 1 } else { 0 };
        if self.row >= needed {
            (self.is_out, self.row) = (!is_healthy, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it is out after each of these results.
    fn out(results: &str) -> String {
        let mut active = Active::default();
        let after = |result: char| {
            active.probed(result == '+', 2, 3);
            if active.is_out() { 'o' } else { '.' }
        };
        results.chars().map(after).collect()
    }

    #[test]
    fn the_first_result_decides_and_later_ones_in_rows() {
        assert_eq!(out("+---"), "...o");
        assert_eq!(out("-+++"), "oo..");
        assert_eq!(out("+--+--+---+-++"), ".........oooo.");
        assert_eq!(out("--+-+-++-"), "ooooooo..");
    }
}
