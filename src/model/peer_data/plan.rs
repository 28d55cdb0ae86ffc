//! Planned backups in the databags: the leader's orders, and what came of one on a unit.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::is_zero;
use crate::cluster::{Made, Order, Plan, Ran};

/// In the application's databag.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct PlanText {
    since: u64,
    #[serde(default, skip_serializing_if = "nothing")]
    full: u64,
    #[serde(default, skip_serializing_if = "nothing")]
    verified: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    number: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    order: Option<OrderText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<RanText>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct OrderText {
    number: u32,
    unit: String,
    full: bool,
    verify: bool,
    at: u64,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    tried: BTreeSet<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RanText {
    unit: String,
    at: u64,
    #[serde(flatten)]
    made: MadeText,
}

/// In a unit's databag.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct MadeText {
    number: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    backup_id: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    full: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    verified: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands fields by reference")]
fn nothing(seconds: &u64) -> bool {
    *seconds == 0
}

impl From<&Made> for MadeText {
    fn from(made: &Made) -> Self {
        let Made { number, id, full, verified, problem } = made.clone();
        Self { number, backup_id: id, full, verified, problem }
    }
}

impl From<MadeText> for Made {
    fn from(text: MadeText) -> Self {
        let MadeText { number, backup_id, full, verified, problem } = text;
        Self { number, id: backup_id, full, verified, problem }
    }
}

impl From<&Plan> for PlanText {
    fn from(plan: &Plan) -> Self {
        let order = |order: &Order| OrderText {
            number: order.number,
            unit: order.unit.to_string(),
            full: order.full,
            verify: order.verify,
            at: order.at_s,
            tried: order.tried.iter().map(ToString::to_string).collect(),
        };
        let last = |ran: &Ran| RanText { unit: ran.unit.to_string(), at: ran.at_s, made: (&ran.made).into() };
        Self {
            since: plan.since_s,
            full: plan.full_s,
            verified: plan.verified_s,
            number: plan.number,
            order: plan.order.as_ref().map(order),
            last: plan.last.as_ref().map(last),
        }
    }
}

impl TryFrom<PlanText> for Plan {
    type Error = String;

    fn try_from(text: PlanText) -> Result<Self, String> {
        let order = |order: OrderText| {
            Ok::<_, String>(Order {
                number: order.number,
                unit: order.unit.parse()?,
                full: order.full,
                verify: order.verify,
                at_s: order.at,
                tried: order.tried.iter().map(|unit| unit.parse()).collect::<Result<_, _>>()?,
            })
        };
        let last = |ran: RanText| Ok::<_, String>(Ran { unit: ran.unit.parse()?, made: ran.made.into(), at_s: ran.at });
        Ok(Self {
            since_s: text.since,
            full_s: text.full,
            verified_s: text.verified,
            number: text.number,
            order: text.order.map(order).transpose()?,
            last: text.last.map(last).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_survives_the_databag() {
        let made = Made {
            number: 3,
            id: Some("2026-11-22T10:00:00Z".to_owned()),
            full: true,
            verified: true,
            problem: Some("it is no good".to_owned()),
        };
        let plan = Plan {
            since_s: 1_800_000_000,
            full_s: 1_700_000_000,
            verified_s: 1_600_000_000,
            number: 4,
            order: Some(Order {
                number: 4,
                unit: "db/1".parse().unwrap(),
                full: false,
                verify: true,
                at_s: 1_800_000_000,
                tried: ["db/0".parse().unwrap()].into(),
            }),
            last: Some(Ran { unit: "db/2".parse().unwrap(), made, at_s: 1_799_999_999 }),
        };
        for plan in [plan, Plan::default()] {
            let text = serde_json::to_string(&PlanText::from(&plan)).unwrap();
            let read: PlanText = serde_json::from_str(&text).unwrap();
            assert_eq!(Plan::try_from(read), Ok(plan), "{text}");
        }
    }
}
