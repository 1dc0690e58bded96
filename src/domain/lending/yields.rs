//! What a row of payments earns: periodic rates, XIRR, and the annual percentage rate of a key facts statement.

use rust_decimal::Decimal;

/// Where a solver stops: the rate of a period is known to this much.
const TOLERANCE: Decimal = Decimal::from_parts(1, 0, 0, false, 18);

/// Steps of a solver at most: bisection alone halves a bracket of 10 to 10⁻²⁰ in 70.
const STEPS_MAX: u32 = 200;

/// Greatest rate of a period that is looked for: 1,000, which is 100,000 per cent.
const RATE_MAX: i64 = 1_000;

/// A payment: after how many periods (or days), and how much; negative is paid out.
pub type Flow = (u32, Decimal);

/// The rate at which payments are worth nothing together today: Σ amount·(1+i)^−periods = 0.
/// `None` where there is none between −99 % and 100,000 % a period, or the payments do not change sign.
///
/// Newton's steps inside a bracket, bisection where they leave it.
#[must_use]
pub fn internal_rate(flows: &[Flow]) -> Option<Decimal> {
    let scale = flows.iter().map(|flow| flow.1.abs()).max()?;
    if scale.is_zero() {
        return None;
    }
    let flows: Vec<Flow> = flows.iter().map(|(at, amount)| (*at, amount / scale)).collect();
    let (mut low, mut high) = bracket(&flows)?;
    let low_is_positive = worth(&flows, low)?.0 > Decimal::ZERO;
    let mut rate = if low < Decimal::ZERO && high > Decimal::ZERO { Decimal::ZERO } else { middle(low, high) };
    for _ in 0..STEPS_MAX {
        let (value, slope) = worth(&flows, rate)?;
        if value.is_zero() {
            return Some(rate);
        }
        if (value > Decimal::ZERO) == low_is_positive {
            low = rate;
        } else {
            high = rate;
        }
        let newton = value.checked_div(slope).and_then(|step| rate.checked_sub(step));
        let next = newton.filter(|next| low < *next && *next < high).unwrap_or_else(|| middle(low, high));
        if (next - rate).abs() <= TOLERANCE {
            return Some(next);
        }
        rate = next;
    }
    None
}

fn middle(low: Decimal, high: Decimal) -> Decimal {
    (low + high) / Decimal::TWO
}

/// Two rates between which the worth changes its sign.
fn bracket(flows: &[Flow]) -> Option<(Decimal, Decimal)> {
    let at_zero = worth(flows, Decimal::ZERO)?.0;
    let differs = |rate: Decimal| {
        worth(flows, rate)
            .is_some_and(|(value, _)| value.is_zero() || (value > Decimal::ZERO) != (at_zero > Decimal::ZERO))
    };
    let mut before = Decimal::ZERO;
    let mut rate = Decimal::new(1, 4);
    while rate <= Decimal::from(RATE_MAX) {
        if differs(rate) {
            return Some((before, rate));
        }
        before = rate;
        rate *= Decimal::TWO;
    }
    let mut before = Decimal::ZERO;
    for step in 1..=99 {
        let rate = Decimal::new(-step, 2);
        if differs(rate) {
            return Some((rate, before));
        }
        before = rate;
    }
    None
}

/// Σ amount·(1+i)^−n and its derivative by i. `None` beyond what a decimal holds.
fn worth(flows: &[Flow], rate: Decimal) -> Option<(Decimal, Decimal)> {
    let factor = Decimal::ONE.checked_div(Decimal::ONE.checked_add(rate)?)?;
    let (mut value, mut slope) = (Decimal::ZERO, Decimal::ZERO);
    let (mut at, mut power) = (0, Decimal::ONE);
    for (n, amount) in flows {
        power = if *n >= at { power.checked_mul(power_of(factor, n - at)?)? } else { power_of(factor, *n)? };
        at = *n;
        let part = amount.checked_mul(power)?;
        value = value.checked_add(part)?;
        slope = slope.checked_sub(part.checked_mul(Decimal::from(*n))?.checked_mul(factor)?)?;
    }
    Some((value, slope))
}

/// `base` to a whole power, by squaring. `None` beyond what a decimal holds.
#[must_use]
pub fn power_of(base: Decimal, exponent: u32) -> Option<Decimal> {
    let (mut result, mut square, mut rest) = (Decimal::ONE, base, exponent);
    while rest > 0 {
        if rest & 1 == 1 {
            result = result.checked_mul(square)?;
        }
        rest >>= 1;
        if rest > 0 {
            square = square.checked_mul(square)?;
        }
    }
    Some(result)
}

/// The `n`th root of a positive number, by Newton's steps. `None` where they do not settle.
fn root_of(value: Decimal, n: u32) -> Option<Decimal> {
    let n_decimal = Decimal::from(n);
    let mut root = Decimal::ONE + (value - Decimal::ONE) / n_decimal;
    for _ in 0..STEPS_MAX {
        let power = power_of(root, n.checked_sub(1)?)?;
        if power.is_zero() {
            return None;
        }
        let next = root - (root - value.checked_div(power)?) / n_decimal;
        if (next - root).abs() <= TOLERANCE {
            return Some(next);
        }
        root = next;
    }
    None
}

/// The annual effective rate of dated payments: days over 365 from the first, as spreadsheets' XIRR has it.
/// Flows count days. `None` as for [`internal_rate`].
#[must_use]
pub fn xirr(flows: &[Flow]) -> Option<Decimal> {
    power_of(Decimal::ONE + internal_rate(flows)?, 365)?.checked_sub(Decimal::ONE)
}

/// A year's effective rate as the nominal one of so many periods: n·((1+x)^(1/n) − 1).
#[must_use]
pub fn nominal_of(effective: Decimal, periods: u32) -> Option<Decimal> {
    Some(Decimal::from(periods) * (root_of(Decimal::ONE + effective, periods)? - Decimal::ONE))
}

/// A period's rate as a year's effective one: (1+i)^n − 1.
#[must_use]
pub fn effective_of(rate: Decimal, periods: u32) -> Option<Decimal> {
    power_of(Decimal::ONE.checked_add(rate)?, periods)?.checked_sub(Decimal::ONE)
}
