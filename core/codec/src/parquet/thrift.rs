//! Looks over the headers of a Parquet file before the library trusts them.
//!
//! They are structures of Thrift's compact protocol. Any number in them may be a lie: one that says how much memory to
//! set aside would end the process before anything else is found wrong.

/// Structures within each other.
const DEPTH_MAX: usize = 32;

/// Is told what there is, with the numbers of the fields that lead there. May find it wrong.
pub trait Look {
    fn number(&mut self, _path: &[i16], _value: i64) -> Result<(), String> {
        Ok(())
    }

    fn list(&mut self, _path: &[i16], _len: usize) -> Result<(), String> {
        Ok(())
    }

    /// The end of a structure.
    fn end(&mut self, _path: &[i16]) -> Result<(), String> {
        Ok(())
    }
}

/// Looks over the structure at the beginning of these bytes.
pub fn look_over(bytes: &[u8], look: &mut impl Look) -> Result<(), String> {
    Walk { rest: bytes, path: Vec::new(), look }.structure(0)
}

struct Walk<'a, L> {
    rest: &'a [u8],
    path: Vec<i16>,
    look: &'a mut L,
}

impl<L: Look> Walk<'_, L> {
    fn structure(&mut self, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err("it is nested too deep".into());
        }
        let mut field = 0_i16;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return self.look.end(&self.path);
            }
            field = match head >> 4 {
                0 => i16::try_from(self.zigzag()?).map_err(|_| "a field has no number")?,
                more => field.wrapping_add(i16::from(more)),
            };
            self.path.push(field);
            // A field's truth is in its head.
            if !matches!(head & 0xf, 1 | 2) {
                self.value(head & 0xf, depth)?;
            }
            self.path.pop();
        }
    }

    fn value(&mut self, kind: u8, depth: usize) -> Result<(), String> {
        match kind {
            1..=3 => self.pass(1),
            4..=6 => {
                let value = self.zigzag()?;
                self.look.number(&self.path, value)
            }
            7 => self.pass(8),
            8 => {
                let bytes = self.varint()?;
                self.pass(bytes)
            }
            9 | 10 => {
                let head = self.byte()?;
                let len = match head >> 4 {
                    15 => self.varint()?,
                    len => u64::from(len),
                };
                self.values(len, &[head & 0xf], depth)
            }
            11 => match self.varint()? {
                0 => Ok(()),
                len => {
                    let kinds = self.byte()?;
                    self.values(len, &[kinds >> 4, kinds & 0xf], depth)
                }
            },
            12 => self.structure(depth + 1),
            13 => self.pass(16),
            _ => Err("a field has no known type".into()),
        }
    }

    fn values(&mut self, len: u64, kinds: &[u8], depth: usize) -> Result<(), String> {
        // Each takes a byte at least.
        let len =
            usize::try_from(len).ok().filter(|it| *it <= self.rest.len()).ok_or("a list is longer than the rest")?;
        self.look.list(&self.path, len)?;
        if depth > DEPTH_MAX {
            return Err("it is nested too deep".into());
        }
        for _ in 0..len {
            for kind in kinds {
                self.value(*kind, depth + 1)?;
            }
        }
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, String> {
        let (first, rest) = self.rest.split_first().ok_or("it ends too early")?;
        self.rest = rest;
        Ok(*first)
    }

    fn pass(&mut self, bytes: u64) -> Result<(), String> {
        let rest = usize::try_from(bytes).ok().and_then(|it| self.rest.get(it..));
        self.rest = rest.ok_or("it ends too early")?;
        Ok(())
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a number does not end".into())
    }

    fn zigzag(&mut self) -> Result<i64, String> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }
}
