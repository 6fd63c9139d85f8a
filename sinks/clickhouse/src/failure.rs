//! What a server's errors mean, by their number: see `src/Common/ErrorCodes.cpp` of ClickHouse.

use std::error::Error;
use std::fmt;

use clickhouse::error::Error as ClientError;
use forebay_api::{BoxError, SinkError};

/// The longest text of an error that is passed on.
const CHARACTERS_MAX: usize = 600;

/// A request that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The server's number, if it was the server that said something.
    code: Option<u32>,
    /// Whether there was no answer in time.
    is_late: bool,
    /// What it was about, and everything that was said, in one line.
    text: String,
    hint: Option<String>,
}

/// What is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It passes, or somebody sees to it: the same again later.
    Wait,
    /// The server was not reached, or is not the one that answered: another one is asked next.
    Elsewhere,
    /// The columns are not those that were fetched.
    Columns,
    /// Some row is to blame.
    Rows,
    /// The server does not let us.
    Rights,
}

impl Failure {
    /// Says what was being done when a request failed.
    pub(crate) fn new(doing: &str, error: &ClientError) -> Self {
        let said = match error {
            ClientError::BadResponse(text) => text.clone(),
            ClientError::TimedOut => "no answer in time".to_owned(),
            other => causes(other),
        };
        let code = match error {
            ClientError::BadResponse(text) => code(text),
            _ => None,
        };
        let hint = code.and_then(hint).map(str::to_owned);
        let is_late = matches!(error, ClientError::TimedOut);
        Self { code, is_late, text: format!("{doing}: {}", one_line(&said)), hint }
    }

    /// Whether there was no answer in time: a longer one may help.
    pub(crate) fn is_late(&self) -> bool {
        self.is_late
    }

    /// With another hint, if it is of this kind.
    pub(crate) fn hinted(self, kind: Kind, hint: String) -> Self {
        if self.kind() == kind { Self { hint: Some(hint), ..self } } else { self }
    }

    /// What is to be done.
    pub(crate) fn kind(&self) -> Kind {
        self.code.map_or(Kind::Elsewhere, kind)
    }

    /// Whether something ended before the server had read all that it wanted: ATTEMPT_TO_READ_AFTER_EOF,
    /// CANNOT_READ_ALL_DATA.
    pub(crate) fn is_of_end(&self) -> bool {
        matches!(self.code, Some(32 | 33))
    }

    /// Whether the statement cannot be right, whenever it is made: SYNTAX_ERROR, BAD_ARGUMENTS, unknown names and types,
    /// types that do not go together, DATA_TYPE_CANNOT_BE_USED_IN_KEY.
    pub(crate) fn is_of_statement(&self) -> bool {
        matches!(self.code, Some(36 | 42 | 43 | 44 | 46 | 47 | 50 | 53 | 62 | 446 | 549))
    }

    /// The row of the block, from 0, that is against a `CONSTRAINT` (VIOLATED_CONSTRAINT): the first one, says the text. Not to
    /// be relied upon: it is that of another block if a view has such a table.
    pub(crate) fn offender(&self) -> Option<u64> {
        let (_, rest) = self.text.split_once("is violated at row ").filter(|_| self.code == Some(469))?;
        let digits = rest.split(|it: char| !it.is_ascii_digit()).next()?;
        digits.parse::<u64>().ok()?.checked_sub(1)
    }

    /// Whether a view of the table said it, not the table. Only the text knows.
    pub(crate) fn is_of_view(&self) -> bool {
        self.text.contains("while pushing to view")
    }

    /// What the engine is to do.
    pub(crate) fn into_sink_error(self) -> SinkError {
        match self.kind() {
            Kind::Rights => SinkError::Stop(self.into()),
            _ => SinkError::Retry(self.into()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        match &self.hint {
            None => Ok(()),
            Some(hint) => write!(f, " (hint: {hint})"),
        }
    }
}

impl Error for Failure {}

/// An error that is ours.
pub(crate) fn retry(error: impl Into<BoxError>) -> SinkError {
    SinkError::Retry(error.into())
}

/// An error that is ours, and that waiting does not mend.
pub(crate) fn stop(error: impl Into<BoxError>) -> SinkError {
    SinkError::Stop(error.into())
}

/// `Code: 60. DB::Exception: …`. A number with nothing behind it is from the head of an answer whose body did not arrive.
/// It is not acted upon: asked once more, the server says the reason too, which the letter of a refused row has to tell.
fn code(text: &str) -> Option<u32> {
    let (number, _) = text.trim_start().strip_prefix("Code: ")?.split_once('.')?;
    number.parse().ok()
}

/// What is done about a number. What is not listed passes by itself or by somebody's work: it is waited for, and never
/// a reason to refuse rows.
pub(crate) fn kind(code: u32) -> Kind {
    match code {
        // NO_SUCH_COLUMN_IN_TABLE, THERE_IS_NO_COLUMN, NOT_FOUND_COLUMN_IN_BLOCK, NUMBER_OF_COLUMNS_DOESNT_MATCH,
        // ILLEGAL_TYPE_OF_ARGUMENT, ILLEGAL_COLUMN, UNKNOWN_IDENTIFIER, TYPE_MISMATCH, CANNOT_CONVERT_TYPE
        16 | 8 | 10 | 20 | 43 | 44 | 47 | 53 | 70 => Kind::Columns,
        // CANNOT_PARSE_TEXT, _ESCAPE_SEQUENCE, _QUOTED_STRING, _INPUT_ASSERTION_FAILED, _DATE, _DATETIME
        6 | 25 | 26 | 27 | 38 | 41 => Kind::Rows,
        // ARGUMENT_OUT_OF_BOUND, CANNOT_PARSE_NUMBER, INCORRECT_DATA, TOO_LARGE_ARRAY_SIZE,
        // CANNOT_READ_ARRAY_FROM_TEXT, TOO_LARGE_STRING_SIZE, ILLEGAL_DIVISION, SIZES_OF_ARRAYS_DONT_MATCH,
        // INVALID_PARTITION_VALUE, VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
        69 | 72 | 117 | 128 | 130 | 131 | 153 | 190 | 248 | 321 => Kind::Rows,
        // CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN, CANNOT_PARSE_UUID, FUNCTION_THROW_IF_VALUE_IS_NON_ZERO,
        // DECIMAL_OVERFLOW, CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING, CANNOT_PARSE_BOOL, VIOLATED_CONSTRAINT
        349 | 376 | 395 | 407 | 441 | 467 | 469 => Kind::Rows,
        // CANNOT_READ_MAP_FROM_TEXT, UNEXPECTED_DATA_AFTER_PARSED_VALUE, CANNOT_PARSE_IPV4, CANNOT_PARSE_IPV6,
        // UNKNOWN_ELEMENT_OF_ENUM
        563 | 632 | 675 | 676 | 691 => Kind::Rows,
        // UNKNOWN_USER, WRONG_PASSWORD, REQUIRED_PASSWORD, IP_ADDRESS_NOT_ALLOWED, ACCESS_DENIED,
        // AUTHENTICATION_FAILED
        192..=195 | 497 | 516 => Kind::Rights,
        // SOCKET_TIMEOUT, NETWORK_ERROR, ALL_CONNECTION_TRIES_FAILED, TABLE_IS_READ_ONLY, NOT_ENOUGH_SPACE,
        // KEEPER_EXCEPTION, ABORTED, SERVER_OVERLOADED: of this server; another one may do.
        209 | 210 | 279 | 242 | 243 | 999 | 236 | 745 => Kind::Elsewhere,
        _ => Kind::Wait,
    }
}

/// What somebody can do.
fn hint(code: u32) -> Option<&'static str> {
    Some(match code {
        60 => "make the table, or let the sink make it: `create = true`",
        81 => "make the database: `CREATE DATABASE`",
        164 => "this user may only read (`readonly`)",
        192..=194 | 516 => "see `user` and `password`",
        195 => "this user may not come from here (`<networks>`)",
        497 => "the user needs INSERT and SELECT on the table",
        201 => "the user's quota is used up until its interval is over",
        159 => "the user's profile has a `max_execution_time`, which this takes longer than",
        202 => {
            "too many queries at a time: this sink makes up to `in_flight_max` of them for each table, and with `leases` so many \
             for each shard that this process reads"
        }
        241 => "the server's memory is short, or smaller inserts are wanted: `batch = { bytes_max = … }`",
        252 => "the server does not keep up with merging: fewer and larger inserts help, by `batch = { age_max = … }`",
        452 => "the user's profile does not let this sink set what exactly once needs",
        _ => return None,
    })
}

/// An error and what caused it, without what was said before.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}

/// On one line, and not much longer than one.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut line = words.join(" ");
    if let Some((end, _)) = line.char_indices().nth(CHARACTERS_MAX) {
        line.truncate(end);
        line.push('…');
    }
    line
}
