//! The protocol's half about the value: what a read says of the key, and the lease that a value waits for.

use std::time::Duration;

use osproxy_core::Instant;

use super::{Fault, LeaseReading, Next, Protocol, Taken, Tell, Value, between};

impl Protocol {
    /// What a read that is believed says of the key.
    pub(super) fn settle(&mut self, revision: i64, value: Option<Value>, next: &mut Vec<Next>) {
        self.pending = None;
        match (&mut self.taken, value) {
            (Taken::Absence(at), None) => {
                *at = revision;
                next.push(Next::Confirm);
            }
            (_, None) => self.take(None, revision, None, next),
            (Taken::Value(taken), Some(value)) if *taken == value => {
                next.push(Next::Confirm);
                if value.lease != 0 {
                    next.push(Next::AskLease(value.lease));
                }
            }
            (_, Some(value)) if value.lease == 0 => self.take(Some(value), revision, None, next),
            (_, Some(value)) => {
                next.push(Next::AskLease(value.lease));
                self.pending = Some(value);
            }
        }
    }

    pub(super) fn take(
        &mut self,
        value: Option<Value>,
        revision: i64,
        reading: Option<LeaseReading>,
        next: &mut Vec<Next>,
    ) {
        self.pending = None;
        self.gone = None;
        self.taken = value.clone().map_or(Taken::Absence(revision), Taken::Value);
        next.push(Next::Take {
            value,
            revision,
            reading,
        });
    }

    pub(super) fn lease_answered(
        &mut self,
        now: Instant,
        id: i64,
        reading: LeaseReading,
        next: &mut Vec<Next>,
    ) {
        if reading.remaining_secs < 0 {
            // A lease that is gone takes the key with it: read again, but not for ever where etcd keeps both.
            if self.gone.replace(id) != Some(id) {
                let wait = between(Duration::ZERO, Duration::from_secs(1), &mut self.chance);
                self.read_by(now.saturating_add(wait));
            }
            return;
        }
        self.gone = None;
        match self.pending.take() {
            Some(value) if value.lease == id => {
                self.take(Some(value), self.known, Some(reading), next);
            }
            other => {
                self.pending = other;
                next.push(Next::Age(id, reading));
            }
        }
    }

    pub(super) fn lease_failed(&mut self, now: Instant, fault: Fault, next: &mut Vec<Next>) {
        let Some(value) = self.pending.take() else {
            return;
        };
        if fault == Fault::PermissionDenied {
            // A login that may not ask still may read: the wall clock alone has to do.
            self.take(Some(value), self.known, None, next);
        } else {
            self.tell(Tell::ReadFailed(fault), next);
            let wait = self.back_off.wait(&mut self.chance);
            self.read_by(now.saturating_add(wait));
        }
    }
}
