//! The elements of a list or text: which there are, and which of two comes first, without keeping
//! them in order. Must never know what an element holds.
//!
//! Elements form a tree: each was inserted after another one, or at the head. The order of the
//! sequence is that of a walk through the tree, siblings by descending operation id; two elements
//! never change their relative order. Text is typed in *runs*, each element after the one before
//! it, so the tree is kept as one of runs. Each run knows one ancestor far above it (a skew-binary
//! jump), so that two elements are compared in logarithmic time, whatever the tree looks like.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::history::Id;

/// Consecutive counters of one writer, each element after the one before it.
#[derive(Debug, Clone, Copy)]
struct Run {
    first: Id,
    length: u32,
    /// After what the first element was inserted.
    after: Spot,
    depth: u32,
    /// An ancestor.
    jump: u32,
}

/// The place of an element: its run, and its place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Spot {
    run: u32,
    offset: u32,
}

const HEAD: Spot = Spot { run: 0, offset: 0 };

#[derive(Debug)]
pub(super) struct Sequence {
    /// The first is the head.
    runs: Vec<Run>,
    /// Runs by writer and first counter.
    by_id: BTreeMap<(u32, u32), u32>,
}

impl Default for Sequence {
    fn default() -> Self {
        let head = Run { first: Id::NONE, length: 1, after: HEAD, depth: 0, jump: 0 };
        Self { runs: vec![head], by_id: BTreeMap::new() }
    }
}

impl Sequence {
    pub(super) fn contains(&self, id: Id) -> bool {
        self.find(id).is_some()
    }

    /// Inserts an element after another, or at the head. What was checked is there.
    pub(super) fn insert(&mut self, id: Id, after: Option<Id>) {
        let spot = after.map_or(Some(HEAD), |after| self.find(after));
        let Some(spot) = spot else { return };
        if let Some(run) = self.runs.get_mut(at(spot.run))
            && run.first.writer == id.writer
            && run.first.counter + run.length == id.counter
            && spot.offset + 1 == run.length
            && spot.run != HEAD.run
        {
            run.length += 1;
            return;
        }
        let number = count(&self.runs);
        let run = Order { base: self, more: None }.run_after(id, spot);
        self.runs.push(run);
        self.by_id.insert((id.writer, id.counter), number);
    }

    fn find(&self, id: Id) -> Option<Spot> {
        let last = self.by_id.range(..=(id.writer, id.counter)).next_back();
        let ((writer, counter), number) = last?;
        let offset = id.counter.checked_sub(*counter)?;
        let run = self.runs.get(at(*number))?;
        (*writer == id.writer && offset < run.length).then_some(Spot { run: *number, offset })
    }
}

/// Elements on top of a sequence that are not in it yet.
#[derive(Debug, Default)]
pub(super) struct More {
    runs: Vec<Run>,
    by_id: BTreeMap<Id, u32>,
}

impl More {
    pub(super) fn insert(&mut self, base: &Sequence, id: Id, after: Option<Id>) {
        let order = Order { base, more: Some(self) };
        let Some(spot) = after.map_or(Some(HEAD), |after| order.find(after)) else { return };
        let run = order.run_after(id, spot);
        let number = count(&base.runs) + count(&self.runs);
        self.runs.push(run);
        self.by_id.insert(id, number);
    }
}

/// The order of a sequence, with some elements on top of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order<'a> {
    pub(super) base: &'a Sequence,
    pub(super) more: Option<&'a More>,
}

fn at(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn count(runs: &[Run]) -> u32 {
    u32::try_from(runs.len()).unwrap_or(u32::MAX)
}

impl Order<'_> {
    /// Whether the first element (`None`: the head) comes before the second. `compare` has the order
    /// of operation ids.
    pub(super) fn precedes(
        &self,
        first: Option<Id>,
        second: Option<Id>,
        compare: impl Fn(Id, Id) -> Ordering,
    ) -> bool {
        let find = |id: Option<Id>| id.map_or(Some(HEAD), |id| self.find(id));
        let (Some(first), Some(second)) = (find(first), find(second)) else { return false };
        let top = self.meeting(first.run, second.run);
        let (first, first_child) = self.below(first, top);
        let (second, second_child) = self.below(second, top);
        // Both stand in or hang from the same run. What hangs from an element comes after it, and
        // its first element is a sibling of the next in the run.
        match (first.offset.cmp(&second.offset), first_child, second_child) {
            (Ordering::Equal, None, second_child) => second_child.is_some(),
            (Ordering::Less, None, _) => true,
            (Ordering::Equal | Ordering::Greater, _, None) => false,
            (Ordering::Equal, Some(first), Some(second)) => compare(first, second).is_gt(),
            (Ordering::Less, Some(child), _) => compare(child, self.next(first)).is_gt(),
            (Ordering::Greater, _, Some(child)) => compare(child, self.next(second)).is_lt(),
        }
    }

    /// The element behind this one in its run.
    fn next(&self, spot: Spot) -> Id {
        let first = self.run(spot.run).first;
        Id { counter: first.counter.saturating_add(spot.offset + 1), ..first }
    }

    fn find(&self, id: Id) -> Option<Spot> {
        let on_top = self.more.and_then(|more| more.by_id.get(&id));
        on_top.map_or_else(|| self.base.find(id), |run| Some(Spot { run: *run, offset: 0 }))
    }

    fn run(&self, number: u32) -> Run {
        let base = &self.base.runs;
        let on_top = || self.more?.runs.get(at(number).checked_sub(base.len())?);
        let head = Run { first: Id::NONE, length: 1, after: HEAD, depth: 0, jump: 0 };
        base.get(at(number)).or_else(on_top).copied().unwrap_or(head)
    }

    fn run_after(&self, first: Id, after: Spot) -> Run {
        let parent = self.run(after.run);
        let far = self.run(parent.jump);
        let farther = self.run(far.jump);
        let even = parent.depth - far.depth == far.depth - farther.depth;
        let jump = if even { far.jump } else { after.run };
        Run { first, length: 1, after, depth: parent.depth + 1, jump }
    }

    /// The ancestor of a run (or itself) at a depth.
    fn ancestor(&self, mut number: u32, depth: u32) -> u32 {
        let mut run = self.run(number);
        while run.depth > depth {
            let jump = self.run(run.jump);
            number = if jump.depth >= depth { run.jump } else { run.after.run };
            run = self.run(number);
        }
        number
    }

    /// The lowest run from which both descend.
    fn meeting(&self, a: u32, b: u32) -> u32 {
        let depth = self.run(a).depth.min(self.run(b).depth);
        let (mut a, mut b) = (self.ancestor(a, depth), self.ancestor(b, depth));
        while a != b {
            let (run_a, run_b) = (self.run(a), self.run(b));
            (a, b) = if run_a.jump == run_b.jump {
                (run_a.after.run, run_b.after.run)
            } else {
                (run_a.jump, run_b.jump)
            };
        }
        a
    }

    /// Where an element stands in the run `top`, or else from where in it it descends, and through
    /// which child.
    fn below(&self, spot: Spot, top: u32) -> (Spot, Option<Id>) {
        if spot.run == top {
            return (spot, None);
        }
        let child = self.run(self.ancestor(spot.run, self.run(top).depth + 1));
        (child.after, Some(child.first))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The order as it is defined: a list into which each element is inserted behind its parent and
    /// behind all elements there with larger ids.
    fn naive(elements: &[(Id, Option<Id>)]) -> Vec<Id> {
        let mut list: Vec<Id> = Vec::new();
        for (id, after) in elements {
            let mut place =
                after.map_or(0, |after| list.iter().position(|e| *e == after).unwrap() + 1);
            while list.get(place).is_some_and(|next| next > id) {
                place += 1;
            }
            list.insert(place, *id);
        }
        list
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

        #[test]
        fn the_order_is_that_of_a_list_kept_in_order(
            steps in proptest::collection::vec(any::<(u8, u8, bool)>(), 1..60),
            on_top in 0_usize..20,
        ) {
            let mut elements: Vec<(Id, Option<Id>)> = Vec::new();
            for (writer, after, chained) in steps {
                let writer = u32::from(writer % 3);
                let parent = if chained {
                    elements.iter().rev().find(|(id, _)| id.writer == writer).map(|(id, _)| *id)
                } else {
                    let place = usize::from(after) % (elements.len() + 1);
                    elements.get(place).map(|(id, _)| *id)
                };
                // Somebody who had not seen everything: a counter just above the parent's and his
                // own last one.
                let own = elements.iter().filter(|(id, _)| id.writer == writer);
                let own = own.map(|(id, _)| id.counter).max().unwrap_or(0);
                let counter = 1 + own.max(parent.map_or(0, |parent| parent.counter));
                elements.push((Id { counter, writer }, parent));
            }
            let list = naive(&elements);
            let split = elements.len().saturating_sub(on_top);
            let (mut base, mut more) = (Sequence::default(), More::default());
            for (id, after) in &elements[..split] {
                base.insert(*id, *after);
            }
            for (id, after) in &elements[split..] {
                more.insert(&base, *id, *after);
            }
            let order = Order { base: &base, more: Some(&more) };
            for (i, a) in list.iter().enumerate() {
                prop_assert!(order.precedes(None, Some(*a), |a, b| a.cmp(&b)));
                prop_assert!(!order.precedes(Some(*a), None, |a, b| a.cmp(&b)));
                for (j, b) in list.iter().enumerate() {
                    let found = order.precedes(Some(*a), Some(*b), |a, b| a.cmp(&b));
                    prop_assert_eq!(found, i < j, "{:?} {:?} in {:?}", a, b, list);
                }
            }
        }
    }

    #[test]
    fn typing_is_one_run_and_a_deep_tree_is_climbed_quickly() {
        let mut text = Sequence::default();
        for counter in 1..=1_000 {
            let id = Id { counter, writer: 0 };
            text.insert(id, (counter > 1).then(|| Id { counter: counter - 1, writer: 0 }));
        }
        assert_eq!(text.runs.len(), 2);
        let mut last = None;
        for counter in 2_000..102_000 {
            let id = Id { counter, writer: counter % 2 };
            text.insert(id, last);
            last = Some(id);
        }
        let order = Order { base: &text, more: None };
        let (first, last) = (Id { counter: 2_000, writer: 0 }, last.unwrap());
        let mut steps = 0;
        for _ in 0..1_000 {
            steps += usize::from(order.precedes(Some(first), Some(last), |a, b| a.cmp(&b)));
        }
        assert_eq!(steps, 1_000);
        assert!(!text.contains(Id { counter: 2_001, writer: 0 }));
    }
}
