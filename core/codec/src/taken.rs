//! What a read has taken so far.

use forebay_api::{Position, Refusal};

use crate::records::{LONG_RECORD_KEPT_BYTES, Window};
use crate::rows::{Pushed, Rows};

/// Places of rows, refusals, and how much of both there is.
pub struct Taken {
    pub places: Places,
    pub refused: Vec<Refusal>,
    pub bytes: usize,
}

impl Taken {
    /// Nothing yet, after so many records.
    pub fn after(records: u64) -> Self {
        Self { places: Places { from: records, rows: 0, listed: Vec::new() }, refused: Vec::new(), bytes: 0 }
    }

    /// How many records became rows or were refused.
    pub fn records(&self) -> usize {
        self.places.rows + self.refused.len()
    }

    /// Makes rows of the records that come after so many others, as far as they are good.
    pub fn take(&mut self, window: &Window<'_>, before: u64, record_bytes_max: usize, rows: &mut Rows) {
        let text = window.text();
        for (nth, cut) in window.cuts.iter().enumerate() {
            let number = before + nth as u64 + 1;
            let record = &window.bytes[cut.clone()];
            self.bytes += record.len() + 1;
            let bytes = window.begun_of.unwrap_or(record.len() as u64);
            if bytes > record_bytes_max as u64 {
                let head = &record[..record.len().min(LONG_RECORD_KEPT_BYTES)];
                rows.refused(head);
                self.refuse(number, head, too_long(bytes, head, record_bytes_max));
                continue;
            }
            if let Some(text) = text {
                let pushed = rows.push(nth, text, cut.clone());
                self.pushed(number, record, pushed);
                continue;
            }
            match std::str::from_utf8(record) {
                Ok(text) => {
                    let pushed = rows.push(nth, text, 0..text.len());
                    self.pushed(number, record, pushed);
                    self.settle(window, before, text, rows);
                }
                Err(error) => {
                    rows.refused(record);
                    let at = error.valid_up_to();
                    self.refuse(number, record, format!("it is not UTF-8: byte {} is 0x{:02x}", at + 1, record[at]));
                }
            }
        }
        if let Some(text) = text {
            self.settle(window, before, text, rows);
        }
    }

    #[inline]
    fn pushed(&mut self, number: u64, record: &[u8], pushed: Pushed) {
        match pushed {
            Pushed::Row => self.places.push(number),
            Pushed::NoRow => {}
            Pushed::Refused(why) => self.refuse(number, record, why),
        }
    }

    /// Refuses rows that were taken too early.
    fn settle(&mut self, window: &Window<'_>, before: u64, text: &str, rows: &mut Rows) {
        let late = rows.settle(text);
        if late.is_empty() {
            return;
        }
        let numbers: Vec<u64> = late.iter().map(|(nth, _)| before + *nth as u64 + 1).collect();
        self.places.remove(&numbers);
        for (number, (nth, why)) in numbers.into_iter().zip(late) {
            self.refuse(number, &window.bytes[window.cuts[nth].clone()], why);
        }
        self.refused.sort_by(|one, other| one.position.cmp(&other.position));
    }

    /// Refuses the record of this number.
    pub fn refuse(&mut self, number: u64, payload: &[u8], why: String) {
        self.refused.push(Refusal { position: Position::row(number), payload: payload.to_vec(), why });
    }
}

fn too_long(bytes: u64, head: &[u8], record_bytes_max: usize) -> String {
    let why = format!("it has {bytes} bytes, more than the {record_bytes_max} of `line_bytes_max`");
    match bytes > head.len() as u64 {
        true => format!("{why}; its first {} are kept here", head.len()),
        false => why,
    }
}

/// Where rows stand. As long as they follow each other without a gap, they are only counted.
pub struct Places {
    from: u64,
    rows: usize,
    /// Every one of them, once there was a gap.
    listed: Vec<u64>,
}

impl Places {
    fn push(&mut self, number: u64) {
        if self.listed.is_empty() && number != self.from + self.rows as u64 + 1 {
            self.list();
            self.listed.push(number);
        } else if !self.listed.is_empty() {
            self.listed.push(number);
        }
        self.rows += 1;
    }

    /// Takes out some of them.
    fn remove(&mut self, numbers: &[u64]) {
        self.list();
        self.listed.retain(|it| numbers.binary_search(it).is_err());
        self.rows = self.listed.len();
    }

    fn list(&mut self) {
        if self.listed.is_empty() {
            self.listed.extend((self.from + 1..).take(self.rows));
        }
    }

    /// Whether every record up to `to` is a row, or up to the last row if there are no more.
    pub fn is_complete(&self, to: u64, ended: bool) -> bool {
        self.listed.is_empty() && (ended || self.from + self.rows as u64 == to)
    }

    /// All of them.
    pub fn positions(mut self) -> Vec<Position> {
        self.list();
        self.listed.into_iter().map(Position::row).collect()
    }
}
