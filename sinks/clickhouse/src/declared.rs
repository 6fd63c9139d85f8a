//! Tables as a file declares them, by the statements that make them: whether rows go into them is known without a server.
//!
//! Read is as much of a statement as that takes: the names of its columns, their types, and whether the server makes
//! their values.

use arrow_schema::SchemaRef;
use forebay_api::Wrong;

use crate::table::columns::{TableColumn, layout};
use crate::{ClickHouse, Evolve, ddl, sql};

/// Checks that rows with these columns go into the tables that the file declares, if there is one.
pub(crate) fn check(config: &ClickHouse, input: &SchemaRef) -> Result<(), Wrong> {
    let Some(path) = &config.ddl else { return Ok(()) };
    let wrong = |what: String| Wrong::new("ddl", what);
    let text = std::fs::read_to_string(path)
        .map_err(|error| wrong(format!("`{}` cannot be read: {error}", path.display())).hint("see the path"))?;
    let declared = tables(&text).map_err(|what| wrong(format!("in `{}`, {what}", path.display())))?;
    for name in config.table.names() {
        let is_it =
            |it: &&Table| it.name == name && it.database.as_ref().is_none_or(|database| *database == config.database);
        let Some(table) = declared.iter().find(is_it) else {
            let what = format!("`{}` has no `CREATE TABLE` of {}", path.display(), config.full_name(name));
            let known: Vec<String> = declared.iter().map(Table::full_name).collect();
            let wanted = format!("{}.{name}", config.database);
            return Err(wrong(what).known(&wanted, known.iter().map(String::as_str)));
        };
        let mut columns = table.columns.clone();
        if config.evolve == Some(Evolve::AddColumns) {
            let added = ddl::added(config, input, |name| columns.iter().all(|it| it.name != name))?;
            columns.extend(added.iter().flat_map(|it| column(it, &tokens(it))));
        }
        layout(config, &config.full_name(name), input, &columns)
            .map_err(|misfit| wrong(misfit.what).hint(misfit.hint))?;
    }
    Ok(())
}

/// A table, as far as its statement was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) database: Option<String>,
    pub(crate) name: String,
    pub(crate) columns: Vec<TableColumn>,
}

impl Table {
    fn full_name(&self) -> String {
        self.database.iter().chain([&self.name]).cloned().collect::<Vec<_>>().join(".")
    }
}

/// A word, a quoted name, a text, or a single sign, and where it stands.
#[derive(Clone, Copy, Debug)]
struct Token<'a> {
    text: &'a str,
    start: usize,
}

impl Token<'_> {
    fn is(&self, word: &str) -> bool {
        self.text.eq_ignore_ascii_case(word)
    }

    fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// What it names.
    fn name(&self) -> String {
        let Some(quote) = self.text.get(..1).filter(|it| matches!(*it, "`" | "\"")) else {
            return self.text.to_owned();
        };
        let inner = &self.text[1..];
        sql::unescaped(&inner.strip_suffix(quote).unwrap_or(inner).replace(&quote.repeat(2), quote))
    }
}

/// The tables that statements make, in their order; or what is not as it must be. Other statements are passed over.
pub(crate) fn tables(text: &str) -> Result<Vec<Table>, String> {
    let tokens = tokens(text);
    let mut found = Vec::new();
    let mut rest = tokens.as_slice();
    while let Some(start) = rest.iter().position(|it| it.is("CREATE")) {
        rest = &rest[start + 1..];
        let mut words = rest;
        for word in ["OR", "REPLACE", "TEMPORARY"] {
            words = &words[first_if(words, word)..];
        }
        let [first, after @ ..] = words else { break };
        if first.is("TABLE") {
            found.push(table(text, after)?);
        }
    }
    Ok(found)
}

/// 1 if the first token is this word, else 0.
fn first_if(tokens: &[Token<'_>], word: &str) -> usize {
    usize::from(tokens.first().is_some_and(|it| it.is(word)))
}

/// A table, by what stands behind `CREATE TABLE`.
fn table(text: &str, tokens: &[Token<'_>]) -> Result<Table, String> {
    let mut tokens = tokens;
    for word in ["IF", "NOT", "EXISTS"] {
        tokens = &tokens[first_if(tokens, word)..];
    }
    let (database, name) = match tokens {
        [database, dot, name, ..] if dot.text == "." => (Some(database.name()), name.name()),
        [name, ..] => (None, name.name()),
        [] => return Err("`CREATE TABLE` has no name behind it".to_owned()),
    };
    // A cluster and an id may stand before the list; an engine comes behind it.
    let ends = |it: &Token<'_>| it.text == "(" || it.text == ";" || it.is("ENGINE") || it.is("AS");
    let open = tokens.iter().position(ends).filter(|it| tokens[*it].text == "(");
    let Some(open) = open else { return Err(format!("the statement of `{name}` has no list of columns")) };
    let list = &tokens[open + 1..];
    let mut depth = 0_usize;
    let mut columns = Vec::new();
    let mut start = 0;
    for (at, token) in list.iter().enumerate() {
        match token.text {
            "(" => depth += 1,
            ")" if depth > 0 => depth -= 1,
            "," | ")" if depth == 0 => {
                columns.extend(column(text, &list[start..at]));
                start = at + 1;
                if token.text == ")" {
                    return Ok(Table { database, name, columns });
                }
            }
            _ => {}
        }
    }
    Err(format!("the statement of `{name}` has no end"))
}

/// A column, by what stands between two commas; `None` for what is none.
fn column(text: &str, tokens: &[Token<'_>]) -> Option<TableColumn> {
    let (first, mut rest) = tokens.split_first()?;
    if ["INDEX", "CONSTRAINT", "PROJECTION", "PRIMARY", "FOREIGN"].iter().any(|it| first.is(it)) {
        return None;
    }
    let mut name = first.name();
    while let [dot, next, after @ ..] = rest
        && dot.text == "."
    {
        name = format!("{name}.{}", next.name());
        rest = after;
    }
    let kinds = ["DEFAULT", "MATERIALIZED", "ALIAS", "EPHEMERAL"];
    let kind = |token: Option<&Token<'_>>| kinds.into_iter().find(|it| token.is_some_and(|token| token.is(it)));
    let mut type_text = String::new();
    // Without a type it is that of its default.
    if kind(rest.first()).is_none() {
        let end = type_end(rest);
        let (first, last) = (rest.first()?, rest.get(end.checked_sub(1)?)?);
        type_text = text[first.start..last.end()].to_owned();
        rest = &rest[end..];
    }
    match rest {
        [null, after @ ..] if null.is("NULL") => {
            type_text = format!("Nullable({type_text})");
            rest = after;
        }
        [not, null, after @ ..] if not.is("NOT") && null.is("NULL") => rest = after,
        _ => {}
    }
    let default_kind = kind(rest.first()).unwrap_or_default().to_owned();
    Some(TableColumn { name, type_text, default_kind, in_partition: false })
}

/// Behind a word and what stands in parentheses after it.
fn type_end(tokens: &[Token<'_>]) -> usize {
    if tokens.get(1).is_none_or(|it| it.text != "(") {
        return tokens.len().min(1);
    }
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.text {
            "(" => depth += 1,
            ")" if depth == 1 => return at + 1,
            ")" => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    tokens.len()
}

/// All tokens, without comments.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let is_word = |it: char| it.is_alphanumeric() || it == '_';
    let mut found = Vec::new();
    let mut start = 0;
    while let Some(first) = text[start..].chars().next() {
        let rest = &text[start..];
        let length = match first {
            it if it.is_whitespace() => it.len_utf8(),
            _ if rest.starts_with("--") || rest.starts_with('#') => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |it| it + 2),
            it if is_word(it) => rest.find(|it| !is_word(it)).unwrap_or(rest.len()),
            '\'' | '"' | '`' => quoted(rest, first),
            it => it.len_utf8(),
        };
        let is_token = !first.is_whitespace() && !["--", "#", "/*"].iter().any(|it| rest.starts_with(it));
        if is_token {
            found.push(Token { text: &rest[..length], start });
        }
        start += length;
    }
    found
}

/// How long it is until the quote ends that a text begins with. A quote in it is doubled, or has a backslash before it.
fn quoted(text: &str, quote: char) -> usize {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        let is_doubled = character == quote && characters.peek().is_some_and(|it| it.1 == quote);
        if character == '\\' || is_doubled {
            characters.next();
        } else if character == quote {
            return at + 1;
        }
    }
    text.len()
}
