//! The host's program: a session, its connection and its clock.

use super::channel::{Channel, To};
use crate::MonotonicTime;
use crate::control::VoteNotify;
use crate::guest::{EventType, LineFramer, NotificationType};
use crate::session::{ConcludedBy, Note, Output, Report, Reporting, Session, Settings};

pub(super) struct Host {
    pub(super) session: Session,
    settings: Settings,
    reporting: Reporting,
    framer: LineFramer,
    /// When the connection that is asked for is made.
    connects: Option<MonotonicTime>,
    /// The session's deadline, and the later moment at which this program's clock gets round to it.
    timer: Option<(MonotonicTime, MonotonicTime)>,
    /// The program is not scheduled until then, or not there.
    pub(super) asleep_until: MonotonicTime,
    /// It does not read until then.
    pub(super) deaf_until: MonotonicTime,
    /// How the last action ended.
    pub(super) concluded: Option<(VoteNotify, ConcludedBy)>,
}

impl Host {
    pub(super) fn new(channel: &mut Channel) -> Self {
        let failure_threshold = u32::try_from(channel.dice.below(4)).unwrap();
        let settings = Settings { failure_threshold, ..Settings::default() };
        let reporting = Reporting { host: !channel.dice.one_in(4), instance: true };
        let mut host = Self {
            session: Session::new(settings, reporting, true),
            settings,
            reporting,
            framer: LineFramer::default(),
            connects: None,
            timer: None,
            asleep_until: MonotonicTime::START,
            deaf_until: MonotonicTime::START,
            concluded: None,
        };
        host.settle(channel);
        host
    }

    pub(super) fn calm(&mut self, now: MonotonicTime) {
        self.asleep_until = self.asleep_until.min(now);
        self.deaf_until = self.deaf_until.min(now);
    }

    pub(super) fn wakes(&self, channel: &Channel) -> Option<MonotonicTime> {
        let arrival = channel.to_host.arrival().filter(|_| channel.connected);
        let arrival = arrival.map(|at| at.max(self.deaf_until));
        let fires = self.timer.map(|(_, fires)| fires);
        let next = [arrival, self.connects, fires].into_iter().flatten().min();
        next.map(|at| at.max(self.asleep_until))
    }

    /// What has arrived is handled before the clock is looked at.
    pub(super) fn turn(&mut self, channel: &mut Channel) {
        let now = channel.now;
        if self.connects.take_if(|at| *at <= now).is_some() {
            channel.connected = true;
            self.framer = LineFramer::default();
            self.session.handle_connected(now);
            self.settle(channel);
        }
        if channel.connected && self.deaf_until <= now {
            self.read(channel);
        }
        if self.timer.is_some_and(|(_, fires)| fires <= now) {
            self.session.handle_timeout(now, &mut || channel.dice.random());
            let due = self.session.poll_timeout();
            assert!(due.is_none_or(|due| due > now), "the host's busy loop: {due:?}");
            self.settle(channel);
        }
    }

    fn read(&mut self, channel: &mut Channel) {
        let now = channel.now;
        let bytes = channel.to_host.read(now);
        if bytes.is_empty() {
            return;
        }
        let Self { session, framer, .. } = self;
        framer.push(&bytes, |frame| {
            session.handle_frame(now, &frame, &mut || channel.dice.random());
        });
        self.settle(channel);
    }

    pub(super) fn act(
        &mut self,
        channel: &mut Channel,
        event: &EventType,
        notification: NotificationType,
    ) {
        self.concluded = None;
        let random = &mut || channel.dice.random();
        self.session.handle_action(channel.now, event, notification, random);
        self.settle(channel);
    }

    /// The channel breaks.
    pub(super) fn lose_connection(&mut self, channel: &mut Channel) {
        if channel.connected {
            self.session.handle_closed(channel.now);
            self.settle(channel);
        }
    }

    /// The daemon ends, and another one starts.
    pub(super) fn restart(&mut self, channel: &mut Channel) {
        channel.tally.hosts_restarted += 1;
        if channel.connected {
            channel.close();
        }
        self.session = Session::new(self.settings, self.reporting, true);
        self.connects = None;
        self.asleep_until = channel.now + channel.dice.millis(10, 3000);
        self.settle(channel);
    }

    /// The operator switches reporting on or off.
    pub(super) fn change(&mut self, channel: &mut Channel) {
        self.reporting.instance = !self.reporting.instance;
        self.session.handle_reporting(channel.now, self.reporting);
        self.settle(channel);
    }

    fn settle(&mut self, channel: &mut Channel) {
        let mut by = None;
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Connect => {
                    self.connects = Some(channel.now + channel.dice.millis(0, 50));
                }
                Output::Close => channel.close(),
                Output::Send { sequence, message } => {
                    let mut bytes = Vec::new();
                    message.encode(sequence, &mut bytes);
                    channel.write(To::Guest, bytes);
                }
                Output::Report(Report::Running(_)) => channel.tally.came += 1,
                Output::Report(Report::Stopped(_)) => channel.tally.stopped += 1,
                Output::Report(Report::Loss) => {
                    assert!(self.reporting.enabled(), "LOSS while reporting is disabled");
                    channel.tally.losses += 1;
                }
                Output::Report(Report::IllHealth(_)) => {}
                Output::Report(Report::Vote(vote)) => {
                    let by = by.take().expect("a note before it");
                    channel.tally.votes_answered += u64::from(by == ConcludedBy::Answer);
                    self.concluded = Some((vote, by));
                }
                Output::Note(Note::Concluded { by: how, .. }) => by = Some(how),
                Output::Note(Note::Missed { .. } | Note::Failed { .. } | Note::Silent) => {
                    channel.tally.missed += 1;
                }
                Output::Note(Note::LostTime { .. }) => channel.tally.host_lost_time += 1,
                Output::Note(Note::WrongInvocation { .. }) => channel.tally.votes_refused += 1,
                Output::Note(Note::Malformed(_)) => channel.tally.malformed += 1,
                Output::Note(_) => {}
                Output::Forget => panic!("it is provisioned"),
            }
        }
        let due = self.session.poll_timeout();
        if self.timer.map(|(due, _)| due) != due {
            let late = channel.dice.lateness();
            self.timer = due.map(|due| (due, due + late));
        }
    }
}
