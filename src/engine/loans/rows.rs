//! Loans and days as bytes of the store. The store is disposable and has a version of its own: there is none here.

use std::collections::BTreeMap;

use crate::domain::ids::{Moment, Seq};
use crate::domain::lending::loan::facts::ProductTotals;
use crate::domain::lending::loan::packed::unpack;
use crate::domain::time::Day;
use crate::engine::outcome::{Input, write_varint};

use super::book::{DayBook, DaySums};
use super::table::{LoanRow, is_active};

/// A loan's row.
pub fn encode_row(row: &LoanRow, out: &mut Vec<u8>) {
    out.clear();
    out.push(u8::from(row.is_plain));
    for number in [
        row.last_seq.0,
        row.applied_seq.0,
        row.applied_at.0.cast_unsigned(),
        u64::from(row.customer),
        u64::from(row.product),
        u64::from(row.product_version),
        u64::from(row.events),
    ] {
        write_varint(out, number);
    }
    out.extend_from_slice(&row.state);
}

/// What [`encode_row`] wrote.
pub fn decode_row(bytes: &[u8]) -> Option<LoanRow> {
    let mut input = Input(bytes);
    let is_plain = input.u8()? == 1;
    let last_seq = Seq(input.varint()?);
    let applied_seq = Seq(input.varint()?);
    let applied_at = Moment(input.varint()?.cast_signed());
    let mut narrow = || u32::try_from(input.varint()?).ok();
    let (customer, product, product_version, events) = (narrow()?, narrow()?, narrow()?, narrow()?);
    let state = unpack(input.0)?;
    Some(LoanRow {
        state: input.0.into(),
        last_seq,
        applied_seq,
        applied_at,
        customer: Some(customer).filter(|customer| *customer > 0)?,
        before_of_customer: 0,
        product,
        product_version,
        events,
        through: state.advanced_through,
        is_active: is_active(&state),
        is_plain,
        is_stored: true,
    })
}

/// Products, by the seqs of their entries, and days.
pub fn encode_lending(products: &[Seq], day: &DayBook) -> Box<[u8]> {
    let mut out = vec![u8::from(day.by_hand)];
    write_varint(&mut out, products.len() as u64);
    products.iter().for_each(|seq| write_varint(&mut out, seq.0));
    for number in [u64::from(day.closed.0), u64::from(day.ended.0), day.ended_seq.0, u64::from(day.next_loan)] {
        write_varint(&mut out, number);
    }
    write_varint(&mut out, day.sums.len() as u64);
    for ((date, product), sums) in &day.sums {
        write_varint(&mut out, u64::from(date.0));
        write_varint(&mut out, u64::from(*product));
        sums.moved.iter().for_each(|amount| write_signed(&mut out, *amount));
        sums.totals.loans.iter().for_each(|count| write_varint(&mut out, u64::from(*count)));
        sums.totals.outstanding.iter().for_each(|amount| write_signed(&mut out, *amount));
        write_signed(&mut out, sums.totals.provision);
    }
    write_varint(&mut out, day.provisions.len() as u64);
    for (product, held) in &day.provisions {
        write_varint(&mut out, u64::from(*product));
        write_signed(&mut out, *held);
    }
    write_varint(&mut out, day.ends.len() as u64);
    let mut before = (Day(0), Seq::NONE);
    for (date, seq) in &day.ends {
        write_varint(&mut out, u64::from(date.0.saturating_sub(before.0.0)));
        write_varint(&mut out, seq.0.saturating_sub(before.1.0));
        before = (*date, *seq);
    }
    out.into_boxed_slice()
}

/// What [`encode_lending`] wrote.
pub fn decode_lending(bytes: &[u8]) -> Option<(Vec<Seq>, DayBook)> {
    let mut input = Input(bytes);
    let mut day = DayBook { by_hand: input.u8()? == 1, ..DayBook::default() };
    let mut products = Vec::new();
    for _ in 0..input.varint()? {
        products.push(Seq(input.varint()?));
    }
    day.closed = Day(u16::try_from(input.varint()?).ok()?);
    day.ended = Day(u16::try_from(input.varint()?).ok()?);
    day.ended_seq = Seq(input.varint()?);
    day.next_loan = u32::try_from(input.varint()?).ok()?;
    for _ in 0..input.varint()? {
        let date = Day(u16::try_from(input.varint()?).ok()?);
        let product = u32::try_from(input.varint()?).ok()?;
        let mut sums = DaySums { totals: ProductTotals { product, ..ProductTotals::default() }, ..DaySums::default() };
        for amount in &mut sums.moved {
            *amount = read_signed(&mut input)?;
        }
        for count in &mut sums.totals.loans {
            *count = u32::try_from(input.varint()?).ok()?;
        }
        for amount in &mut sums.totals.outstanding {
            *amount = read_signed(&mut input)?;
        }
        sums.totals.provision = read_signed(&mut input)?;
        day.sums.insert((date, product), sums);
    }
    let mut provisions = BTreeMap::new();
    for _ in 0..input.varint()? {
        provisions.insert(u32::try_from(input.varint()?).ok()?, read_signed(&mut input)?);
    }
    day.provisions = provisions;
    let mut before = (0u16, 0u64);
    for _ in 0..input.varint()? {
        let date = before.0.checked_add(u16::try_from(input.varint()?).ok()?)?;
        let seq = before.1.checked_add(input.varint()?)?;
        day.ends.push((Day(date), Seq(seq)));
        before = (date, seq);
    }
    input.0.is_empty().then_some((products, day))
}

fn write_signed(out: &mut Vec<u8>, amount: i64) {
    write_varint(out, ((amount << 1) ^ (amount >> 63)).cast_unsigned());
}

fn read_signed(input: &mut Input<'_>) -> Option<i64> {
    let coded = input.varint()?;
    Some((coded >> 1).cast_signed() ^ -((coded & 1).cast_signed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_round_trip() {
        let mut day = DayBook {
            by_hand: true,
            closed: Day(20_000),
            ended: Day(19_998),
            ended_seq: Seq(77),
            next_loan: 513,
            ..DayBook::default()
        };
        let totals = ProductTotals {
            product: 3,
            loans: [1, 2, 3, 4, 5],
            outstanding: [0, 1, -1, i64::MAX, i64::MIN],
            provision: 9,
        };
        day.sums.insert((Day(19_999), 3), DaySums { moved: std::array::from_fn(|role| role as i64 - 7), totals });
        day.provisions.insert(3, -4);
        day.ends = vec![(Day(19_990), Seq(5)), (Day(19_998), Seq(77))];
        let bytes = encode_lending(&[Seq(5), Seq(9)], &day);
        assert_eq!(decode_lending(&bytes), Some((vec![Seq(5), Seq(9)], day)));
        assert_eq!(decode_lending(&bytes[..bytes.len() - 1]), None);
    }
}
