//! What is said about the operations of loan products, loans, the business day and reports.

use crate::domain::reject::RejectCode as R;

use super::super::lending::explain::FIGURES;
use super::super::problem::Code;
use super::super::resources::Operation;
use super::names_of;
use super::operations::{AFTER, AS_OF_SEQ, DRY_RUN, Description, Gives, LIMIT, PLAIN, Parameter, Value, parameter};
use super::schemas as s;

/// What a command about a loan can be refused for, whichever it is: its state, its dates, the accounts that it posts to.
const ANY_ORDER: &[R] = &[
    R::LoanNotActive,
    R::AmountZero,
    R::AccountNotFound,
    R::CurrencyMismatch,
    R::AccountClosed,
    R::AccountFrozen,
    R::PeriodClosed,
    R::InsufficientFunds,
    R::BalanceOverflow,
    R::TooManyLoans,
    R::ControlAccount,
    R::AccountUnsuitable,
    R::PaymentReferenceExists,
    R::LoanNotApplied,
    R::LoanNotApproved,
    R::LoanNotWrittenOff,
    R::LoanAlreadyRepaid,
    R::LoanMethodFlat,
    R::LoanEventNotFound,
    R::KfsNotIssued,
    R::KfsVersion,
    R::KfsNotAccepted,
    R::KfsExpired,
    R::LoanTermsInvalid,
    R::AmountAboveSanction,
    R::DeductionsTooHigh,
    R::AmountAboveDue,
    R::AmountAboveAdvance,
    R::ArrearsFirst,
    R::AmountNotQuoted,
    R::LoanBalanceLeft,
    R::PenalGst,
    R::RateInvalid,
    R::RowsInvalid,
    R::DateBeforeDisbursal,
    R::DateInFuture,
    R::DateOfFirstDue,
    R::CashDisbursal,
    R::PauseInvalid,
    R::CashReceipts,
    R::PanMissing,
    R::CoolingOffOver,
    R::SameIdentity,
];

const ON: Parameter = parameter("on", Value::Date, "The business date when absent.");
const VERSION: Parameter = parameter("version", Value::Whole, "This version; the newest when absent.");

const ORDER: Description = Description {
    tag: "Loans",
    parameters: &[DRY_RUN],
    gives: Gives::One(&s::LOAN_EVENT),
    refusals: ANY_ORDER,
    also: &[Code::LoanNotFoundInPath],
    ..PLAIN
};

const JSON_OR_PDF: Parameter = parameter("format", Value::OneOf(|| vec!["json", "pdf"]), "Instead of `Accept`.");

const READ: Description = Description { tag: "Loans", also: &[Code::LoanNotFoundInPath], ..PLAIN };

/// What is said about an operation.
pub fn describe(operation: Operation) -> Description {
    use Operation as Op;
    match operation {
        Op::CreateLoanProduct | Op::ListLoanProducts | Op::GetLoanProduct | Op::UpdateLoanProduct => {
            products(operation)
        }
        Op::CreateLoan | Op::ListLoans | Op::GetLoan => loans(operation),
        Op::ApproveLoan
        | Op::DeclineLoan
        | Op::IssueKfs
        | Op::AcceptKfs
        | Op::PauseLoan
        | Op::WatchLoan
        | Op::CloseLoan => decisions(operation),
        Op::DisburseLoan
        | Op::ReturnDisbursal
        | Op::CreateRepayment
        | Op::ReverseRepayment
        | Op::CreatePrepayment
        | Op::ForecloseLoan
        | Op::SettleLoan
        | Op::RecoverLoan
        | Op::RefundAdvance
        | Op::CancelLoan => money(operation),
        Op::CreateLoanCharge | Op::WaiveDues | Op::RescheduleLoan | Op::ResetRate | Op::WriteOffLoan => {
            changes(operation)
        }
        Op::GetKfs
        | Op::ListRepayments
        | Op::GetForeclosureQuote
        | Op::GetLoanSchedule
        | Op::GetLoanStatement
        | Op::ExplainLoan => readings(operation),
        Op::GetReceipt | Op::GetNoDues | Op::GetInterestCertificate => papers(operation),
        Op::GetDaySlip => Description {
            summary: "Gives the slip of a day that has ended",
            about: "A PDF: what the day came to, and where the chain of the journal stood then.",
            tag: "Business day",
            also: &[Code::DayNotEnded],
            ..PLAIN
        },
        Op::GetBusinessDay | Op::OpenBusinessDay | Op::CloseBusinessDay => business_day(operation),
        Op::GetDayBook
        | Op::GetDues
        | Op::GetNpaList
        | Op::GetPortfolio
        | Op::GetGstRegister
        | Op::GetMonthEnd
        | Op::GetNpaMovement
        | Op::GetPortfolioMovement => super::reports::describe(operation),
        _ => PLAIN,
    }
}

fn products(operation: Operation) -> Description {
    let plain = Description { tag: "Loan products", gives: Gives::One(&s::LOAN_PRODUCT), ..PLAIN };
    let of_one = Description { also: &[Code::ProductNotFoundInPath], ..plain };
    match operation {
        Operation::CreateLoanProduct => Description {
            summary: "Makes a loan product",
            about: "Accounts that it does not name are opened for it, by the chart of lending.",
            parameters: &[DRY_RUN],
            body: Some(&s::NEW_LOAN_PRODUCT),
            statuses: &[200, 201],
            refusals: &[
                R::AccountNotFound,
                R::ExternalIdExists,
                R::TooManyProducts,
                R::ControlAccount,
                R::AccountUnsuitable,
                R::LoanTermsInvalid,
                R::PrincipalOutOfRange,
            ],
            ..plain
        },
        Operation::UpdateLoanProduct => Description {
            summary: "Gives a loan product another version",
            about: "Loans keep the version that they were asked for under. `If-Match` with the entity tag that was read refuses \
                    a change of what changed meanwhile.",
            parameters: &[DRY_RUN],
            body: Some(&s::LOAN_PRODUCT_CHANGE),
            refusals: &[
                R::AccountNotFound,
                R::VersionMismatch,
                R::TooManyProducts,
                R::AccountUnsuitable,
                R::LoanTermsInvalid,
                R::PrincipalOutOfRange,
            ],
            also: &[Code::ProductNotFoundInPath, Code::PreconditionMalformed],
            ..of_one
        },
        Operation::GetLoanProduct => {
            Description { summary: "Shows a loan product, or a version of it", parameters: &[VERSION], ..of_one }
        }
        _ => Description {
            summary: "Lists loan products, newest first",
            parameters: &[LIMIT, AFTER],
            gives: Gives::Page(&s::LOAN_PRODUCT),
            ..plain
        },
    }
}

fn loans(operation: Operation) -> Description {
    match operation {
        Operation::CreateLoan => Description {
            summary: "Asks for a loan",
            about: "Somebody else than who asks has to approve it.",
            body: Some(&s::NEW_LOAN),
            statuses: &[200, 201],
            gives: Gives::One(&s::LOAN),
            refusals: &[
                R::AmountZero,
                R::ExternalIdExists,
                R::CustomerNotFound,
                R::ProductNotFound,
                R::TooManyLoans,
                R::PrincipalOutOfRange,
                R::LoanNotApplied,
                R::LoanTermsInvalid,
                R::RateInvalid,
                R::RowsInvalid,
                R::DateInFuture,
                R::DateOfFirstDue,
            ],
            also: &[],
            ..ORDER
        },
        Operation::GetLoan => Description {
            summary: "Shows a loan on the business day",
            about: "What falls due on it has been raised. Class and days past due are those of the end of the day before.",
            gives: Gives::One(&s::LOAN),
            ..READ
        },
        _ => Description {
            summary: "Lists loans, newest first",
            about: "A page may be short and still have a next one.",
            parameters: const {
                &[
                    parameter("customer", Value::Named("cust_"), "Of this borrower."),
                    parameter("product", Value::Named("prod_"), "Of this product."),
                    parameter("status", Value::OneOf(|| known(names_of(s::LOAN.fields, "status"))), "In this state."),
                    parameter(
                        "class",
                        Value::OneOf(|| names_of(s::LOAN.fields, "class")),
                        "Of this class or a worse one.",
                    ),
                    LIMIT,
                    AFTER,
                ]
            },
            gives: Gives::Page(&s::LOAN),
            refusals: &[R::CustomerNotFound, R::ProductNotFound],
            also: &[],
            ..READ
        },
    }
}

/// The states that a loan in the books can have.
fn known(names: Vec<&'static str>) -> Vec<&'static str> {
    names.into_iter().filter(|name| *name != "unknown").collect()
}

fn decisions(operation: Operation) -> Description {
    let plain = Description { gives: Gives::One(&s::LOAN), ..ORDER };
    match operation {
        Operation::ApproveLoan => Description {
            summary: "Sanctions a loan",
            about: "Gives out its first key facts statement. Nobody approves what he asked for himself.",
            body: Some(&s::LOAN_DECISION),
            ..plain
        },
        Operation::DeclineLoan => Description { summary: "Declines a loan", body: Some(&s::NEW_REFUSAL), ..plain },
        Operation::IssueKfs => Description {
            summary: "Gives out the next version of the key facts statement",
            body: Some(&s::LOAN_DECISION),
            ..plain
        },
        Operation::AcceptKfs => Description {
            summary: "Notes that the borrower accepts the key facts statement",
            body: Some(&s::KFS_ACCEPTANCE),
            ..plain
        },
        Operation::PauseLoan => Description {
            summary: "Has nobody call the borrower for a loan through a day",
            about: "The call list shows it. Days past due, class and what is owed are counted as before.",
            body: Some(&s::NEW_PAUSE),
            ..plain
        },
        Operation::WatchLoan => Description {
            summary: "Watches a loan, or does not any more",
            about: "Lists show it; nothing else changes.",
            body: Some(&s::NEW_WATCH),
            ..plain
        },
        _ => Description { summary: "Closes a loan on which nothing is owed", body: Some(&s::LOAN_DECISION), ..plain },
    }
}

fn money(operation: Operation) -> Description {
    match operation {
        Operation::DisburseLoan => Description {
            summary: "Notes that money reached the borrower",
            about: "All of the sanction, or a tranche; charges are taken from the first. Interest runs from `credited_on`.",
            body: Some(&s::NEW_DISBURSAL),
            ..ORDER
        },
        Operation::ReturnDisbursal => Description {
            summary: "Notes that a disbursal came back",
            about: "It never was: no interest is owed for it.",
            body: Some(&s::DISBURSAL_RETURN),
            ..ORDER
        },
        Operation::CreateRepayment => Description {
            summary: "Takes a payment",
            about: "The answer is the receipt: what is due is paid in the product's order, the rest waits as advance.",
            body: Some(&s::NEW_REPAYMENT),
            ..ORDER
        },
        Operation::ReverseRepayment => Description {
            summary: "Takes a payment back",
            about: "It never was: dues, interest and class are those of a loan which it never paid. The second id is that of \
                    the payment, prepayment, foreclosure or recovery.",
            body: Some(&s::NEW_WRITE_OFF),
            also: &[Code::LoanNotFoundInPath, Code::LoanEventNotFoundInPath],
            ..ORDER
        },
        Operation::CreatePrepayment => Description {
            summary: "Takes a payment that pays principal ahead",
            about: "What is due is paid first.",
            body: Some(&s::NEW_PREPAYMENT),
            ..ORDER
        },
        Operation::ForecloseLoan => {
            Description { summary: "Ends a loan before its time", body: Some(&s::FORECLOSURE), ..ORDER }
        }
        Operation::SettleLoan => Description {
            summary: "Takes less than is owed for all of a loan, and ends it",
            about: "One record: the receipt, what it pays in the product's order, and what is let go: principal, fees and tax \
                    as a loss, interest out of the income. A caller's limit covers what comes and what is let go. It is \
                    taken back as a receipt is. The class stays as it was.",
            body: Some(&s::SETTLEMENT),
            ..ORDER
        },
        Operation::RecoverLoan => Description {
            summary: "Takes a payment on a loan that was given up",
            body: Some(&s::NEW_RECOVERY),
            ..ORDER
        },
        Operation::RefundAdvance => {
            Description { summary: "Pays an advance back", body: Some(&s::NEW_REFUND), ..ORDER }
        }
        _ => Description {
            summary: "Ends a loan within the cooling-off days, without a penalty",
            body: Some(&s::CANCELLATION),
            ..ORDER
        },
    }
}

fn changes(operation: Operation) -> Description {
    match operation {
        Operation::CreateLoanCharge => Description { summary: "Charges a fee", body: Some(&s::NEW_DUE), ..ORDER },
        Operation::WaiveDues => Description { summary: "Lets dues go", body: Some(&s::NEW_WAIVER), ..ORDER },
        Operation::RescheduleLoan => Description {
            summary: "Gives a loan other terms",
            about: "For what has not fallen due. What has, stays due, and the class with it.",
            body: Some(&s::NEW_PLAN),
            ..ORDER
        },
        Operation::ResetRate => Description { summary: "Gives a loan another rate", body: Some(&s::NEW_RATE), ..ORDER },
        _ => Description {
            summary: "Gives a loan up in the books",
            about: "The claim stays; what comes of it is a recovery.",
            body: Some(&s::NEW_WRITE_OFF),
            ..ORDER
        },
    }
}

fn readings(operation: Operation) -> Description {
    match operation {
        Operation::GetKfs => Description {
            summary: "Shows the key facts statement",
            about: "As of the day on which the last version was given out; a draft of today before the first one.",
            parameters: const { &[JSON_OR_PDF, AS_OF_SEQ] },
            gives: Gives::One(&s::KEY_FACTS),
            refusals: &[R::LoanTermsInvalid],
            ..READ
        },
        Operation::ListRepayments => Description {
            summary: "Lists receipts, newest first",
            about: "Also those that were taken back.",
            parameters: &[LIMIT, AFTER],
            gives: Gives::Page(&s::LOAN_EVENT),
            ..READ
        },
        Operation::GetForeclosureQuote => Description {
            summary: "Says what would end a loan on a day",
            about: "The business date or a later day.",
            parameters: &[ON],
            gives: Gives::One(&s::FORECLOSURE_QUOTE),
            refusals: &[R::LoanNotActive],
            ..READ
        },
        Operation::GetLoanSchedule => Description {
            summary: "Shows the rows of a loan",
            about: "Without a version: rows as they fell due, and as they follow from today's state if all is paid in time.",
            parameters: const { &[VERSION, JSON_OR_PDF, AS_OF_SEQ] },
            gives: Gives::One(&s::LOAN_SCHEDULE),
            ..READ
        },
        Operation::GetLoanStatement => Description {
            summary: "Shows the statement of a loan",
            about: "By value date, oldest first: opening + debits - credits = closing, always.",
            parameters: const {
                &[
                    parameter("from", Value::Date, "First day."),
                    parameter("to", Value::Date, "Last day."),
                    parameter("format", Value::OneOf(|| vec!["json", "csv", "pdf"]), "Instead of `Accept`."),
                    AS_OF_SEQ,
                ]
            },
            gives: Gives::One(&s::LOAN_STATEMENT),
            ..READ
        },
        _ => Description {
            summary: "Says what each figure of a loan comes from",
            parameters: const { &[parameter("figure", Value::OneOf(|| FIGURES.to_vec()), "This one; all when absent.")] },
            gives: Gives::One(&s::LOAN_EXPLANATION),
            ..READ
        },
    }
}

/// What is handed to a borrower.
fn papers(operation: Operation) -> Description {
    match operation {
        Operation::GetReceipt => Description {
            summary: "Gives the receipt of a payment",
            about: "A PDF. Of a payment that was taken back it says so.",
            parameters: const { &[AS_OF_SEQ] },
            also: &[Code::LoanNotFoundInPath, Code::LoanEventNotFoundInPath],
            ..READ
        },
        Operation::GetNoDues => Description {
            summary: "Gives the letter that nothing is due any more",
            about: "A PDF. Refused unless the loan is closed and nothing is owed.",
            parameters: const { &[AS_OF_SEQ] },
            also: &[Code::LoanNotFoundInPath, Code::DuesRemain],
            ..READ
        },
        _ => Description {
            summary: "Shows what was paid on a loan in a financial year",
            about: "By value date; what was taken back was never paid.",
            parameters: const { &[parameter("fy", Value::Text("2026-27"), "The year, which has begun.")] },
            gives: Gives::One(&s::INTEREST_CERTIFICATE),
            ..READ
        },
    }
}

fn business_day(operation: Operation) -> Description {
    let plain = Description { tag: "Business day", gives: Gives::One(&s::BUSINESS_DAY), ..PLAIN };
    match operation {
        Operation::OpenBusinessDay => Description {
            summary: "Opens a business day",
            about: "Those before it are over, and end. Another day than the clock's needs a reason.",
            parameters: &[DRY_RUN],
            body: Some(&s::DAY_OPENING),
            refusals: &[R::BusinessDayInvalid],
            ..plain
        },
        Operation::CloseBusinessDay => Description {
            summary: "Closes the business day",
            about: "Its end runs on after the answer, as an operation: GET /v1/operations/{id} shows how far it is, after a \
                    restart too.",
            parameters: &[DRY_RUN],
            body: Some(&s::NOTHING),
            statuses: &[202, 200],
            refusals: &[R::BusinessDayInvalid],
            gives: Gives::One(&super::schemas::OPERATION),
            ..plain
        },
        _ => Description { summary: "Shows the business day", ..plain },
    }
}
