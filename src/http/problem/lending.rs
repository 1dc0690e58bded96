//! What is said about refusals of lending; their statuses stand with all others.

use crate::domain::reject::RejectCode as R;

/// The same for every occurrence.
pub(super) fn title(code: R) -> &'static str {
    match code {
        R::ProductNotFound => "The loan product does not exist",
        R::LoanNotFound => "The loan does not exist",
        R::LoanEventNotFound => "The loan has no such event",
        R::TooManyProducts => "There are too many loan products, or versions of this one",
        R::TooManyLoans => "The customer has too many loans, or the loan too many events",
        R::ControlAccount => "Only lending posts to this account",
        R::AccountUnsuitable => "The account does not suit loans",
        R::PaymentReferenceExists => "The payment was recorded before",
        R::BusinessDayInvalid => "The business day cannot be opened or closed like this",
        R::PrincipalOutOfRange => "The product lends less, or more",
        R::LoanNotApplied => "The loan has been decided already",
        R::LoanNotApproved => "The loan is not sanctioned",
        R::LoanNotActive => "The loan is not active",
        R::LoanNotWrittenOff => "The loan is not written off",
        R::LoanAlreadyRepaid => "Everything that was paid out has been paid back",
        R::LoanMethodFlat => "Not possible with a flat loan",
        R::KfsNotIssued => "No key facts statement was given out",
        R::KfsVersion => "Another version of the key facts statement is the last one",
        R::KfsNotAccepted => "The key facts statement was not accepted",
        R::KfsExpired => "The key facts statement does not hold any more",
        R::LoanTermsInvalid => "The terms make no loan",
        R::AmountAboveSanction => "More than was sanctioned",
        R::DeductionsTooHigh => "Charges leave nothing to pay out",
        R::AmountAboveDue => "More than is due",
        R::AmountAboveAdvance => "More than is in the advance",
        R::ArrearsFirst => "What is due has to be paid first",
        R::AmountNotQuoted => "Not what the quote says",
        R::LoanBalanceLeft => "The loan has a balance left",
        R::PenalGst => "Penal charges bear no tax",
        R::RateInvalid => "There is no such rate",
        R::RowsInvalid => "There is no such number of instalments",
        R::DateBeforeDisbursal => "Before the money was paid out",
        R::DateInFuture => "The value date lies after the business date",
        R::DateOfFirstDue => "The first due date does not fit",
        R::CashDisbursal => "Too much to be paid out in cash",
        R::CashReceipts => "Too much to be received in cash",
        R::CoolingOffOver => "The cooling-off days are over",
        R::PauseInvalid => "The pause cannot be so",
        R::PanMissing => "The borrower's PAN is not known",
        R::TransferOfLending => "The transfer belongs to a record of lending",
        other => other.name(),
    }
}

/// What the caller can do about it.
pub(super) fn detail(code: R) -> &'static str {
    match code {
        R::ProductNotFound => "No loan product has the id that was given.",
        R::LoanNotFound => "No loan has the id that was given.",
        R::LoanEventNotFound => "The loan has no such event, or it is of another kind, or it was undone before.",
        R::TooManyProducts => "Products and their versions are kept for ever. Change a product that is there.",
        R::TooManyLoans => "They are kept for ever. Ask for the loan under another customer, or for a new loan.",
        R::PaymentReferenceExists => {
            "A payment of this mode with this reference is in the books. See the loan's repayments; nothing was posted again."
        }
        R::BusinessDayInvalid => {
            "See GET /v1/business_day. A day is opened after the one before is over; another date than today's needs a reason."
        }
        R::PrincipalOutOfRange => "See `principal_min` and `principal_max` of the product.",
        R::LoanNotApplied => {
            "Only a loan that was asked for, and is neither sanctioned nor declined, can be decided on."
        }
        R::LoanNotApproved => "Approve it first; what is paid out, declined or over cannot be paid out.",
        R::LoanNotActive => "Nothing of it is paid out, or it has ended. See its `status`.",
        R::LoanNotWrittenOff => "Record what comes in as a repayment: the loan was not given up.",
        R::LoanAlreadyRepaid => "Another loan has to be asked for.",
        R::LoanMethodFlat => {
            "Interest of a flat loan does not follow its balance or rate: it is paid out at once, and can be foreclosed."
        }
        R::KfsNotIssued => "Give one out: POST …/kfs.",
        R::KfsVersion => "Accept the last version: GET …/kfs shows it.",
        R::KfsNotAccepted => "The borrower has to accept the last version: POST …/accept_kfs.",
        R::KfsExpired => "Give out another one, and let the borrower accept that: POST …/kfs.",
        R::LoanTermsInvalid => {
            "The product's terms with this principal, these instalments, rate, dates and charges make no loan. \
             POST /v1/loan_calculations says which field is wrong."
        }
        R::AmountAboveSanction => "Pay out at most what is left of the sanctioned principal.",
        R::DeductionsTooHigh => "The first amount paid out is more than the charges and their tax.",
        R::AmountAboveDue => "See the loan for what is due on the value date; more is an advance or a prepayment.",
        R::AmountAboveAdvance => "See the loan's `advance` on the value date.",
        R::ArrearsFirst => "A prepayment is more than what is due on its value date, which it pays first.",
        R::AmountNotQuoted => "See GET …/foreclosure_quote for that day, or leave the amount out.",
        R::LoanBalanceLeft => "Nothing may be owed, and the advance has to be paid back. See the loan.",
        R::PenalGst => "Leave the tax out.",
        R::RateInvalid => "A rate is from 0 to 1000 per cent a year.",
        R::RowsInvalid => "Instalments are 1 to 3660, and more than those of the moratorium.",
        R::DateBeforeDisbursal => "A value date does not lie before the day on which interest began.",
        R::DateInFuture => "Use the business date or an earlier one.",
        R::DateOfFirstDue => "The first due date lies after the value date, and before 2149.",
        R::CashDisbursal => "20,000 or more is not paid out in cash (Income-tax Act 2025, s.185). Use another mode.",
        R::CashReceipts => {
            "2,00,000 or more is not received in cash from one person in a day (Income-tax Act 2025, s.186). Use another mode."
        }
        R::CoolingOffOver => "The borrower can foreclose the loan: GET …/foreclosure_quote.",
        R::PauseInvalid => "A pause ends on the business date at the earliest, and within a year.",
        R::PanMissing => {
            "More than 50,000 in cash from one person in a day needs a PAN (rule 114B of the Income-tax Rules). \
             PATCH /v1/customers/{id} adds it."
        }
        R::TransferOfLending => {
            "Reversed by itself it would leave loan and ledger apart. Use the loan's own command: a receipt is taken back by \
             POST /v1/loans/{id}/repayments/{event}/reverse, a disbursal by …/return_disbursal, a fee by …/waive; what the \
             end of a day posted is corrected by recording what came late with its value date."
        }
        other => other.name(),
    }
}
