//! What is expected of each route. Plain data, filled in by whoever knows the routes.

/// Everything that may be measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Stages in the order in which a request meets them.
    pub stages: &'static [&'static str],
    /// Routes; an [`super::Observation`] names one by its place.
    pub routes: Vec<RoutePlan>,
}

/// One route.
#[derive(Clone, Debug)]
pub struct RoutePlan {
    /// Its operation id: the label of its metrics.
    pub name: &'static str,
    /// Kind of its budget.
    pub class: &'static str,
    /// 99 of 100 requests are answered within so many microseconds.
    pub budget_us: u64,
    /// Share of each stage in microseconds, by place; 0 where none is set.
    pub stage_budgets_us: Vec<u64>,
    /// 503 is what it is asked for: "not yet", or "not any more".
    pub tells_unready: bool,
    /// Millionths of its requests that are good: no fault of ours, and in time.
    pub objective_ppm: u32,
}

impl RoutePlan {
    /// The share of its requests that may be bad.
    #[must_use]
    pub fn error_budget(&self) -> f64 {
        f64::from(1_000_000 - self.objective_ppm.min(999_999)) / 1e6
    }
}
