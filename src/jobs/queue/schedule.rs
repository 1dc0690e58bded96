//! Jobs by the calendar: cron expressions in the books' time zone.
//!
//! Promise: a firing is one job, however often the process restarts: the moment of the last firing and the job are
//! written together, and the job's number is made of the schedule and the minute. Firings that were missed (the
//! process was down) run once, as the latest of them. A schedule that is seen for the first time begins then.
//! Arguments may name dates ([`DATES`]), which are those of the firing, however late it runs.

use std::collections::BTreeSet;

use croner::Cron;
use croner::parser::CronParser;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use redb::ReadableTable;

use super::change::Change;
use super::file::QueueError;
use super::job::{JobId, Order};
use crate::config::{JOB_KIND_BYTES_MAX, JOB_SCHEDULES_MAX};
use crate::domain::ids::Moment;

/// A job that comes by the calendar.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Its name, for ever: 1–64 bytes, no two alike. The jobs' numbers are made of it.
    pub name: String,
    /// Five fields (minute, hour, day of month, month, day of week) or an alias like `@daily`.
    pub cron: String,
    /// What is to be done; `run_at` is not looked at.
    pub order: Order,
}

/// Why schedules cannot be taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ScheduleError {
    /// The expression is none.
    #[error("schedule {name:?}: {cron:?} is no cron expression: {why}")]
    BadCron {
        /// The schedule's name.
        name: String,
        /// Its expression.
        cron: String,
        /// What the parser says.
        why: String,
    },
    /// Name or order are beyond their bounds.
    #[error("schedule {name:?}: {why}")]
    BadOrder {
        /// The schedule's name.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
    /// Two have one name, or names whose jobs would have one number.
    #[error("schedule {0:?} is there twice")]
    Twice(String),
    /// There are more than 256.
    #[error("there are too many schedules")]
    TooMany,
}

/// Words that arguments may have in braces, and the date or month that each stands for on a day.
pub const DATES: [(&str, fn(Date) -> String); 7] = [
    ("today", |day| day.to_string()),
    ("yesterday", |day| day.saturating_sub(1.day()).to_string()),
    ("month", |day| day.strftime("%Y-%m").to_string()),
    ("last_month", |day| last_month(day).strftime("%Y-%m").to_string()),
    ("month_start", |day| day.first_of_month().to_string()),
    ("last_month_start", |day| last_month(day).to_string()),
    ("last_month_end", |day| last_month(day).last_of_month().to_string()),
];

fn last_month(day: Date) -> Date {
    day.first_of_month().saturating_sub(1.month())
}

/// Arguments with the dates of a day in them. What is no text is left alone.
#[must_use]
pub fn dated(args: &[u8], day: Date) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(args) else { return args.to_vec() };
    let filled = DATES.iter().fold(text.to_owned(), |text, (name, date)| {
        let word = format!("{{{name}}}");
        if text.contains(&word) { text.replace(&word, &date(day)) } else { text }
    });
    filled.into_bytes()
}

/// The next so many firings of each schedule after a moment; fewer of one that does not fire as often again.
///
/// # Errors
/// [`ScheduleError`].
pub fn firings(
    schedules: &[Schedule],
    zone: &TimeZone,
    after: Moment,
    count: usize,
) -> Result<Vec<Vec<Moment>>, ScheduleError> {
    let schedules = Schedules::new(schedules.to_vec(), zone.clone())?;
    let firings = |(_, cron): &(Schedule, Cron)| {
        std::iter::successors(schedules.after(cron, after), |last| schedules.after(cron, *last)).take(count).collect()
    };
    Ok(schedules.list.iter().map(firings).collect())
}

/// Schedules that were read and found good.
#[derive(Debug)]
pub(super) struct Schedules {
    zone: TimeZone,
    list: Vec<(Schedule, Cron)>,
}

impl Schedules {
    /// Reads expressions; they are meant in `zone`.
    pub fn new(list: Vec<Schedule>, zone: TimeZone) -> Result<Schedules, ScheduleError> {
        if list.len() > JOB_SCHEDULES_MAX {
            return Err(ScheduleError::TooMany);
        }
        let mut seen = BTreeSet::new();
        let mut read = Vec::new();
        for schedule in list {
            let name = schedule.name.clone();
            if !seen.insert(JobId::scheduled(&name, Moment(0))) {
                return Err(ScheduleError::Twice(name));
            }
            if name.is_empty() || name.len() > JOB_KIND_BYTES_MAX {
                return Err(ScheduleError::BadOrder { name, why: "the name is empty or longer than 64 bytes" });
            }
            if let Some(why) = schedule.order.fault() {
                return Err(ScheduleError::BadOrder { name, why });
            }
            let parser = CronParser::builder().seconds(croner::parser::Seconds::Disallowed).build();
            let cron = parser.parse(&schedule.cron).map_err(|why| ScheduleError::BadCron {
                name,
                cron: schedule.cron.clone(),
                why: why.to_string(),
            })?;
            read.push((schedule, cron));
        }
        Ok(Schedules { zone, list: read })
    }

    /// Takes in the jobs of schedules that have fired. When the next one fires.
    pub fn fire(&self, change: &mut Change<'_>, now: Moment) -> Result<Option<Moment>, QueueError> {
        let mut next_at = None;
        for (schedule, cron) in &self.list {
            let last = change.schedules.get(schedule.name.as_str())?.map(|last| last.value());
            let Some(last) = last else {
                change.schedules.insert(schedule.name.as_str(), now.0)?;
                change.is_changed = true;
                next_at = earlier(next_at, self.after(cron, now));
                continue;
            };
            if let Some(fire_at) = self.latest(cron, now).filter(|fire_at| fire_at.0 > last) {
                let mut order = Order { run_at: Some(fire_at), ..schedule.order.clone() };
                if let Some(at) = self.zoned(fire_at) {
                    order.args = dated(&order.args, at.date());
                }
                change.insert(JobId::scheduled(&schedule.name, fire_at), &order, fire_at, now)?;
                change.schedules.insert(schedule.name.as_str(), fire_at.0)?;
                change.is_changed = true;
            }
            next_at = earlier(next_at, self.after(cron, now));
        }
        Ok(next_at)
    }

    fn zoned(&self, moment: Moment) -> Option<jiff::Zoned> {
        Timestamp::from_microsecond(moment.0).ok().map(|moment| moment.to_zoned(self.zone.clone()))
    }

    /// The latest firing at or before a moment. An expression that never fires (30 February) has none.
    fn latest(&self, cron: &Cron, now: Moment) -> Option<Moment> {
        let found = cron.find_previous_occurrence(&self.zoned(now)?, true).ok()?;
        Some(Moment(found.timestamp().as_microsecond()))
    }

    /// The first firing after a moment.
    fn after(&self, cron: &Cron, now: Moment) -> Option<Moment> {
        let found = cron.find_next_occurrence(&self.zoned(now)?, false).ok()?;
        Some(Moment(found.timestamp().as_microsecond()))
    }
}

fn earlier(one: Option<Moment>, other: Option<Moment>) -> Option<Moment> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> Order {
        Order { kind: "report".to_owned(), args: Vec::new(), priority: 3, run_at: None }
    }

    fn schedules(rows: &[(&str, &str)]) -> Result<Schedules, ScheduleError> {
        let list = rows.iter().map(|(name, cron)| Schedule {
            name: (*name).to_owned(),
            cron: (*cron).to_owned(),
            order: order(),
        });
        let zone = TimeZone::fixed(jiff::tz::Offset::from_seconds(19_800).expect("India's"));
        Schedules::new(list.collect(), zone)
    }

    fn at(text: &str) -> Moment {
        Moment(text.parse::<Timestamp>().expect("a moment of this table").as_microsecond())
    }

    #[test]
    fn expressions_fire_in_the_books_zone() {
        let after = "2026-11-30T00:00:00Z"; // A Monday, 05:30 in India.
        for (cron, next) in [
            ("*/15 * * * *", Some("2026-11-30T00:15:00Z")),
            ("0 6 * * *", Some("2026-11-30T00:30:00Z")),
            ("30 5 * * *", Some("2026-12-01T00:00:00Z")),
            ("0 0 1 * *", Some("2026-11-30T18:30:00Z")),
            ("0 9 L * *", Some("2026-11-30T03:30:00Z")),
            ("0 9 * * SUN", Some("2026-12-06T03:30:00Z")),
            ("0 9 * * 0", Some("2026-12-06T03:30:00Z")),
            ("0 9 * * 1-5", Some("2026-11-30T03:30:00Z")),
            ("0 0 29 2 *", Some("2028-02-28T18:30:00Z")),
            ("@daily", Some("2026-11-30T18:30:00Z")),
            ("@monthly", Some("2026-11-30T18:30:00Z")),
            ("0 0 30 2 *", None),
        ] {
            let schedules = schedules(&[("one", cron)]).expect("an expression");
            let found = schedules.after(&schedules.list[0].1, at(after));
            assert_eq!(found, next.map(at), "{cron}");
        }
    }

    #[test]
    fn dates_are_those_of_the_day() {
        let all = DATES.map(|(name, _)| format!("{{{name}}}")).join(" ");
        let on = |day: Date| String::from_utf8(dated(all.as_bytes(), day)).expect("text");
        let leap = "2028-03-01 2028-02-29 2028-03 2028-02 2028-03-01 2028-02-01 2028-02-29";
        assert_eq!(on(jiff::civil::date(2028, 3, 1)), leap);
        let january = "2027-01-31 2027-01-30 2027-01 2026-12 2027-01-01 2026-12-01 2026-12-31";
        assert_eq!(on(jiff::civil::date(2027, 1, 31)), january);
        assert_eq!(dated(b"{\"to\": \"{noon}\"}", jiff::civil::date(2027, 1, 1)), b"{\"to\": \"{noon}\"}");
        assert_eq!(dated(&[0xff, b'{'], jiff::civil::date(2027, 1, 1)), [0xff, b'{']);
    }

    #[test]
    fn the_next_firings_are_told() {
        let one = |cron: &str| vec![Schedule { name: "one".to_owned(), cron: cron.to_owned(), order: order() }];
        let told = |cron: &str| firings(&one(cron), &TimeZone::UTC, at("2026-11-30T00:00:00Z"), 2).unwrap().remove(0);
        assert_eq!(told("0 2 1 * *"), [at("2026-12-01T02:00:00Z"), at("2027-01-01T02:00:00Z")]);
        assert_eq!(told("0 0 30 2 *"), []);
    }

    #[test]
    fn what_is_no_schedule_is_named() {
        let long = "n".repeat(65);
        for (rows, part) in [
            (vec![("one", "")], "no cron expression"),
            (vec![("one", "* * * *")], "no cron expression"),
            (vec![("one", "60 * * * *")], "no cron expression"),
            (vec![("one", "0 24 * * *")], "no cron expression"),
            (vec![("one", "0 0 32 * *")], "no cron expression"),
            (vec![("one", "0 0 * 13 *")], "no cron expression"),
            (vec![("one", "0 0 * * 8")], "no cron expression"),
            (vec![("one", "0 0 0 * * *")], "no cron expression"),
            (vec![("", "* * * * *")], "the name"),
            (vec![(long.as_str(), "* * * * *")], "the name"),
            (vec![("one", "* * * * *"), ("one", "0 * * * *")], "twice"),
            (vec![("one", "* * * * *"); 257], "too many"),
        ] {
            let error = schedules(&rows).expect_err("no schedule").to_string();
            assert!(error.contains(part), "{rows:?}: {error}");
        }
    }
}
