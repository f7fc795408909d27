//! Making a run that violates something shorter, as long as it violates the same: leaving out steps
//! and what the world does not need (Zeller and Hildebrandt, "Simplifying and isolating
//! failure-inducing input", 2002).

use crate::report::Violation;
use crate::run::Run;
use crate::world::play;

/// The shortest run found that still breaks the rule that `violation` names, with at most so many
/// attempts.
#[must_use]
pub fn minimise(run: &Run, violation: &Violation, attempts_max: usize) -> Run {
    let mut search = Search { rule: &violation.rule, attempts: attempts_max };
    let mut best = run.clone();
    search.steps(&mut best);
    search.setup(&mut best);
    search.steps(&mut best);
    best
}

struct Search<'a> {
    rule: &'a str,
    attempts: usize,
}

impl Search<'_> {
    fn still_violates(&mut self, run: &Run) -> bool {
        if self.attempts == 0 {
            return false;
        }
        self.attempts -= 1;
        play(run).violations.iter().any(|violation| violation.rule == self.rule)
    }

    /// Takes `shorter` for `best` if it violates the same.
    fn try_instead(&mut self, best: &mut Run, shorter: Run) -> bool {
        let better = self.still_violates(&shorter);
        if better {
            *best = shorter;
        }
        better
    }

    fn steps(&mut self, best: &mut Run) {
        let mut chunk = best.steps.len().div_ceil(2);
        while chunk > 0 && self.attempts > 0 {
            let mut at = 0;
            let mut removed = false;
            while at < best.steps.len() && self.attempts > 0 {
                let mut shorter = best.clone();
                let end = (at + chunk).min(shorter.steps.len());
                // What follows stays at its time.
                let passed: u64 = shorter.steps.drain(at..end).map(|step| step.after_ms).sum();
                if let Some(next) = shorter.steps.get_mut(at) {
                    next.after_ms += passed;
                }
                if self.try_instead(best, shorter) {
                    removed = true;
                } else {
                    at += chunk;
                }
            }
            if !removed || chunk > 1 {
                chunk /= 2;
            }
        }
    }

    /// Weather, tokens and skew that nothing depends on only lengthen the story.
    fn setup(&mut self, best: &mut Run) {
        let mut plain = best.clone();
        plain.setup.token_ms = None;
        self.try_instead(best, plain);
        for client in 0..best.setup.clients.len() {
            let mut plain = best.clone();
            let of = &mut plain.setup.clients[client];
            (of.weather, of.skew_ms, of.loss_per_mille) = (None, 0, 0);
            self.try_instead(best, plain);
        }
        let mut plain = best.clone();
        plain.setup.hostile = 0;
        self.try_instead(best, plain);
        let mut plain = best.clone();
        plain.setup.server.social = None;
        self.try_instead(best, plain);
    }
}
