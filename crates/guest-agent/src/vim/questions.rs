//! What the VIM has to be asked.
//!
//! Pure. A question may be dropped: the audit asks again for what the VIM has not said.

use std::collections::{HashMap, VecDeque};

use heartbeat_proto::{HostId, MonotonicTime};

use super::backoff::Backoff;
use crate::inventory::{AUDIT_PERIOD, Question, Topic};

/// Questions that wait at most: two for each of 10,000 hosts. When it is full, a new one is
/// dropped; the next audit asks again.
pub(crate) const MAX_QUESTIONS: usize = 20_000;

type Subject = (HostId, Topic);

fn subject(question: &Question) -> Subject {
    (question.host, question.topic)
}

/// The questions that wait, at most one for each host and topic, in order.
#[derive(Debug)]
pub(super) struct Questions {
    /// Each subject of `waiting` once.
    order: VecDeque<Subject>,
    waiting: HashMap<Subject, Question>,
    in_flight: Option<Subject>,
    /// Up to an audit's period: each audit asks for what is not known yet.
    backoff: Backoff,
}

impl Default for Questions {
    fn default() -> Self {
        Self {
            order: VecDeque::new(),
            waiting: HashMap::new(),
            in_flight: None,
            backoff: Backoff::up_to(AUDIT_PERIOD),
        }
    }
}

impl Questions {
    /// The VIM has to be asked this. A newer question takes the place of the one about the same
    /// that waits; while one about the same is in flight it is dropped. Says whether it was dropped
    /// because too many wait.
    pub(super) fn push(&mut self, question: Question) -> bool {
        let subject = subject(&question);
        if self.in_flight == Some(subject) {
            return false;
        }
        if let Some(waiting) = self.waiting.get_mut(&subject) {
            *waiting = question;
            return false;
        }
        if self.waiting.len() >= MAX_QUESTIONS {
            return true;
        }
        self.order.push_back(subject);
        self.waiting.insert(subject, question);
        false
    }

    /// The question to ask now, if there is one; it is in flight then.
    pub(super) fn poll_question(&mut self, now: MonotonicTime) -> Option<Question> {
        if self.in_flight.is_some() || self.backoff.pauses(now) {
            return None;
        }
        let subject = self.order.pop_front()?;
        self.in_flight = Some(subject);
        self.waiting.remove(&subject)
    }

    /// The VIM has answered something, be it not what was asked.
    pub(super) fn handle_answered(&mut self) {
        self.in_flight = None;
        self.backoff.handle_success();
    }

    /// The VIM is away. The question that was in flight is dropped, the others wait for a while.
    pub(super) fn handle_failed(&mut self, now: MonotonicTime) {
        self.in_flight = None;
        self.backoff.handle_failure(now);
    }

    /// The VIM was seen to be there.
    pub(super) fn handle_vim_seen(&mut self) {
        self.backoff.handle_success();
    }

    /// When [`poll_question`](Self::poll_question) has a question; the clock's start when it has one
    /// already.
    pub(super) fn ready_at(&self) -> Option<MonotonicTime> {
        let waits = !self.order.is_empty() && self.in_flight.is_none();
        waits.then(|| self.backoff.until().unwrap_or(MonotonicTime::START))
    }

    pub(super) fn len(&self) -> usize {
        self.order.len() + usize::from(self.in_flight.is_some())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::inventory::Revision;

    const NOW: MonotonicTime = MonotonicTime::START;

    fn question(host: u128, topic: Topic) -> Question {
        let host = HostId::from_u128(host);
        Question { host, hostname: "vm".into(), topic, asked_at: Revision::default() }
    }

    #[test]
    fn a_subject_waits_once_and_keeps_its_place() {
        let mut questions = Questions::default();
        questions.push(question(1, Topic::State));
        questions.push(question(1, Topic::Instances));
        let renamed = Question { hostname: "vm2".into(), ..question(1, Topic::State) };
        questions.push(renamed.clone());
        assert_eq!(questions.len(), 2);
        assert_eq!(questions.poll_question(NOW), Some(renamed.clone()), "the newer one");
        assert_eq!(questions.poll_question(NOW), None, "one at a time");
        questions.push(renamed.clone());
        questions.handle_answered();
        assert_eq!(questions.poll_question(NOW), Some(question(1, Topic::Instances)));
        questions.handle_answered();
        assert_eq!(questions.poll_question(NOW), None, "it was in flight when it came again");
        questions.push(renamed.clone());
        assert_eq!(questions.poll_question(NOW), Some(renamed), "but now it is asked again");
    }

    #[test]
    fn a_failed_question_is_dropped_and_the_others_wait() {
        let mut questions = Questions::default();
        questions.push(question(1, Topic::State));
        questions.push(question(2, Topic::State));
        assert_eq!(questions.ready_at(), Some(NOW));
        assert!(questions.poll_question(NOW).is_some());
        assert_eq!(questions.ready_at(), None);
        questions.handle_failed(NOW);
        let later = NOW + Duration::from_secs(1);
        assert_eq!((questions.poll_question(NOW), questions.ready_at()), (None, Some(later)));
        assert_eq!(questions.poll_question(later), Some(question(2, Topic::State)));
        questions.handle_failed(later);
        questions.push(question(3, Topic::State));
        assert_eq!(questions.poll_question(later), None);
        questions.handle_vim_seen();
        assert_eq!(questions.poll_question(later), Some(question(3, Topic::State)));
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut questions = Questions::default();
        let mut dropped = 0_usize;
        for host in 0..20_010 {
            dropped += usize::from(questions.push(question(host, Topic::State)));
        }
        assert_eq!((questions.len(), dropped), (MAX_QUESTIONS, 10));
        assert!(!questions.push(question(7, Topic::State)), "one that waits already");
    }

    /// So that no audit goes by without the VIM being asked for what it has not said.
    #[test]
    fn a_vim_that_is_away_for_long_is_asked_once_an_audit() {
        let (mut questions, mut now) = (Questions::default(), NOW);
        for _ in 0..10 {
            questions.push(question(1, Topic::State));
            assert!(questions.poll_question(now).is_some());
            questions.handle_failed(now);
            questions.push(question(1, Topic::State));
            let ready = questions.ready_at().unwrap();
            assert!(ready.since(now) <= AUDIT_PERIOD);
            now = ready;
        }
        assert!(now.since(NOW) > 5 * AUDIT_PERIOD, "the pauses do grow");
    }
}
