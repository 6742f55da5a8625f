//! A row of steps that happens as a whole or not at all.
//!
//! Contract: when a step fails, the reverses of all steps before it run, last first, and the error says what was put
//! back and what could not be. A reverse that fails doesn't keep the others from running.
//!
//! Limit: a process that is killed half-way undoes nothing. The record of what was there before is written
//! first, so that `unbind` puts such a function right.

use std::fmt;

use crate::error::{Error, Result};
use crate::kernel::Kernel;

use super::step::Step;

/// What became of the steps before the one that failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Undone {
    /// What was put back, in the order in which it was done.
    pub put_back: Vec<String>,
    /// What could not be put back, and why.
    pub left: Vec<String>,
    /// What undoing can't bring back.
    pub lost: Vec<String>,
}

impl fmt::Display for Undone {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.put_back.as_slice(), self.left.as_slice()) {
            ([], []) => write!(out, "Nothing had been changed")?,
            (put_back, []) => write!(out, "Everything is as it was; undone: {}", put_back.join("; "))?,
            ([], left) => write!(out, "Nothing could be undone: {}", left.join("; "))?,
            (put_back, left) => {
                write!(out, "Undone: {}. NOT undone: {}", put_back.join("; "), left.join("; "))?;
            }
        }
        for lost in &self.lost {
            write!(out, ". {lost}")?;
        }
        Ok(())
    }
}

/// What to do should a later step fail.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    reverses: Vec<Step>,
    lost: Vec<String>,
    /// It is the journal of an undo, which nothing interrupts.
    undoing: bool,
}

impl Journal {
    /// Notes a reverse. The last noted runs first.
    pub(crate) fn reverse(&mut self, step: Step) {
        self.reverses.push(step);
    }

    /// Whether the step shall be given up: not while it puts something back.
    pub(crate) fn interrupted(&self, kernel: &dyn Kernel) -> bool {
        !self.undoing && kernel.interrupted()
    }

    /// Notes what no reverse can bring back.
    pub(crate) fn lose(&mut self, words: String) {
        self.lost.push(words);
    }

    fn undo(mut self, kernel: &dyn Kernel) -> Undone {
        let mut undone = Undone { lost: self.lost, ..Undone::default() };
        while let Some(step) = self.reverses.pop() {
            // The reverses of reverses are of no use to anyone.
            match step.apply(kernel, &mut Self { undoing: true, ..Self::default() }) {
                Ok(true) => undone.put_back.push(step.to_string()),
                Ok(false) => {}
                Err(error) => undone.left.push(error.to_string()),
            }
        }
        if undone.put_back.is_empty() {
            undone.lost.clear();
        }
        undone
    }
}

/// Runs the steps; returns, in words, those that had something to change.
///
/// # Errors
/// [`Error::Undone`] with the failure of the step that ended it.
pub(crate) fn run(kernel: &dyn Kernel, steps: &[Step]) -> Result<Vec<String>> {
    let mut journal = Journal::default();
    let mut done = Vec::new();
    for step in steps {
        let applied =
            if kernel.interrupted() { Err(Error::Interrupted) } else { step.apply(kernel, &mut journal) };
        match applied {
            Ok(true) => done.push(step.to_string()),
            Ok(false) => {}
            Err(source) => {
                return Err(Error::Undone { source: Box::new(source), undone: journal.undo(kernel) });
            }
        }
    }
    Ok(done)
}
