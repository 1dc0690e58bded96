//! What each route may take: the routes' kinds and the shares of `config` become the plan that
//! telemetry measures by.

use crate::config::{BUDGET_BATCH, BUDGET_PROCESS, BUDGET_READ, BUDGET_REPORT, BUDGET_SINGLE, Budget};
use crate::telemetry::{Plan, RoutePlan};

use super::resources::Operation;
use super::router::{Class, ROUTES, Route, Takes};
use super::timing::STAGE_NAMES;

/// Number of requests that go nowhere: unknown paths and methods.
pub const UNROUTED: usize = 0;

/// Number of a route in the plan: one more than that of its operation.
#[must_use]
pub fn route_number(route: &Route) -> usize {
    route.operation as usize + 1
}

/// The budget of a route.
#[must_use]
pub fn budget_of(route: &Route) -> &'static Budget {
    use Operation as Op;
    let is_report = matches!(
        route.operation,
        Op::ListTransfers
            | Op::ListAccounts
            | Op::GetStatement
            | Op::GetTrialBalance
            | Op::ListLoans
            | Op::ListRepayments
            | Op::GetKfs
            | Op::GetLoanSchedule
            | Op::GetLoanStatement
            | Op::GetReceipt
            | Op::GetNoDues
            | Op::GetDaySlip
            | Op::ExplainLoan
            | Op::GetDayBook
            | Op::GetDues
            | Op::GetNpaList
            | Op::GetPortfolio
            | Op::GetGstRegister
    );
    match (route.class, route.takes) {
        (_, Takes::Batch | Takes::JsonBatch) => &BUDGET_BATCH,
        _ if is_report || route.operation == Op::ExportBooks => &BUDGET_REPORT,
        (Class::Money | Class::Change | Class::Steer, _) => &BUDGET_SINGLE,
        (Class::Read, _) => &BUDGET_READ,
        (Class::Process, _) => &BUDGET_PROCESS,
    }
}

/// The plan of all routes, by their numbers.
#[must_use]
pub fn plan() -> Plan {
    let count = ROUTES.iter().map(route_number).max().unwrap_or(UNROUTED) + 1;
    let mut routes = vec![route_plan("unrouted", &BUDGET_PROCESS); count];
    for route in ROUTES {
        routes[route_number(route)] = route_plan(route.operation_id, budget_of(route));
    }
    Plan { stages: STAGE_NAMES, routes }
}

fn route_plan(name: &'static str, budget: &Budget) -> RoutePlan {
    let share = |stage: &&str| budget.stages_us.iter().find(|(name, _)| name == stage).map_or(0, |(_, us)| *us);
    RoutePlan {
        name,
        class: budget.class,
        budget_us: budget.total_us,
        stage_budgets_us: STAGE_NAMES.iter().map(share).collect(),
        tells_unready: name == "get_readyz" || name == "get_startupz",
        objective_ppm: budget.objective_ppm,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_has_a_number_of_its_own_and_a_budget() {
        let plan = plan();
        for route in ROUTES {
            let planned = &plan.routes[route_number(route)];
            assert_eq!(planned.name, route.operation_id);
            assert!(planned.budget_us > 0);
        }
        assert_eq!(plan.routes[UNROUTED].name, "unrouted");
    }

    #[test]
    fn shares_name_stages_that_exist_and_none_exceeds_the_whole() {
        for budget in [BUDGET_SINGLE, BUDGET_BATCH, BUDGET_READ, BUDGET_REPORT, BUDGET_PROCESS] {
            for (stage, us) in budget.stages_us {
                assert!(STAGE_NAMES.contains(stage), "{}: {stage}", budget.class);
                assert!(*us <= budget.total_us, "{}: {stage}", budget.class);
            }
        }
    }
}
