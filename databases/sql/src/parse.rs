//! From text to a tree: the one place that runs the parser.

use sqlparser::ast::Statement;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Word};

use crate::dialect::Dialect;
use crate::refusal::{Refusal, RefusalKind};

/// How deep parentheses and the like nest at most. Query builders reach 60.
const DEEPEST: usize = 200;

/// How many operators may follow each other: the tree of `a AND b AND …` is as
/// deep as it is long, and is walked and dropped by recursion.
const LONGEST_CHAIN: usize = 400;

/// A statement, and the parameters that it has.
pub(crate) struct Parsed {
    pub(crate) statement: Statement,
    /// The names of the parameters by their number, from the first one on.
    pub(crate) parameters: Vec<Option<String>>,
}

/// Reads one statement.
pub(crate) fn parse(text: &str, dialect: Dialect) -> Result<Parsed, Refusal> {
    let mut statements = parse_all(text, dialect)?;
    match (statements.0.pop(), statements.0.is_empty()) {
        (Some(statement), true) => Ok(Parsed { statement, parameters: statements.1 }),
        (Some(_), false) => Err(unparsed("these are several statements")),
        (None, _) => Err(unparsed("there is no statement")),
    }
}

/// The parameters of a text, whether the parser understands it or not.
pub(crate) fn parameters(text: &str, dialect: Dialect) -> Option<Vec<Option<String>>> {
    let tokens = tokens(text, dialect).ok()?;
    Some(number_parameters(tokens, dialect).1)
}

/// Reads the statements of a trigger's body, alone or within what made it.
pub(crate) fn parse_trigger(text: &str, dialect: Dialect) -> Result<Vec<Statement>, Refusal> {
    let mut tokens = tokens(text, dialect)?;
    let is = |token: &TokenWithSpan, keyword| matches!(&token.token, Token::Word(word) if word.keyword == keyword);
    let first = tokens.iter().find(|token| !matches!(token.token, Token::Whitespace(_)));
    if first.is_some_and(|token| is(token, Keyword::CREATE)) {
        let begin = tokens.iter().position(|token| is(token, Keyword::BEGIN));
        let end = tokens.iter().rposition(|token| is(token, Keyword::END));
        let (Some(begin), Some(end)) = (begin, end) else {
            return Err(unparsed("the trigger has no body"));
        };
        tokens.truncate(end);
        tokens.drain(..=begin.min(end));
    }
    Ok(parse_tokens(tokens, dialect)?.0)
}

type Statements = (Vec<Statement>, Vec<Option<String>>);

/// Reads statements with semicolons between them.
fn parse_all(text: &str, dialect: Dialect) -> Result<Statements, Refusal> {
    parse_tokens(tokens(text, dialect)?, dialect)
}

fn tokens(text: &str, dialect: Dialect) -> Result<Vec<TokenWithSpan>, Refusal> {
    if dialect == Dialect::MySql && (text.contains("/*!") || text.contains("/*M!")) {
        return Err(unparsed("MySQL runs what stands in a comment that begins with `!`"));
    }
    Tokenizer::new(dialect.parser(), text)
        .tokenize_with_location()
        .map_err(|error| unparsed(error.to_string()))
}

fn parse_tokens(tokens: Vec<TokenWithSpan>, dialect: Dialect) -> Result<Statements, Refusal> {
    if longest_chain(&tokens) > LONGEST_CHAIN {
        let most = format!("more than {LONGEST_CHAIN} operators follow each other");
        return Err(Refusal::new(RefusalKind::Construct, most));
    }
    let (tokens, parameters) = number_parameters(tokens, dialect);
    let statements = Parser::new(dialect.parser())
        .with_recursion_limit(DEEPEST)
        .with_tokens_with_locations(tokens)
        .parse_statements()
        .map_err(|error| unparsed(error.to_string()))?;
    Ok((statements, parameters))
}

fn unparsed(why: impl std::fmt::Display) -> Refusal {
    Refusal::new(RefusalKind::Unparsed, format!("the SQL is not understood: {why}"))
}

/// The most operators on one way through the tree.
fn longest_chain(tokens: &[TokenWithSpan]) -> usize {
    let (mut longest, mut outer, mut here) = (0, Vec::new(), 0);
    let (mut around, mut sets) = (0, 0);
    for token in tokens {
        match &token.token {
            Token::Word(word) if word.keyword == Keyword::END => {
                here = outer.pop().unwrap_or_default();
                around -= here;
            }
            Token::LParen | Token::LBracket | Token::Word(Word { keyword: Keyword::CASE, .. }) => {
                here += 1;
                outer.push(here);
                around += here;
                here = 0;
            }
            Token::RParen | Token::RBracket => {
                here = outer.pop().unwrap_or_default();
                around -= here;
                // What a parenthesis is followed by may chain as well.
                here += 1;
            }
            Token::Comma | Token::SemiColon => here = 0,
            Token::Whitespace(_) => {}
            // Each of them is the left side of the next.
            Token::Word(word) if joins_sets(word.keyword) => sets += 1,
            Token::Word(word) if begins_clause(word.keyword) => here = 0,
            Token::Word(word) if word.keyword == Keyword::NoKeyword => {}
            Token::Number(..) | Token::SingleQuotedString(_) | Token::Placeholder(_) => {}
            Token::Period => {}
            _ => here += 1,
        }
        longest = longest.max(around + here);
    }
    longest + sets
}

fn joins_sets(keyword: Keyword) -> bool {
    matches!(keyword, Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT)
}

/// Whether a tree begins anew at a word.
fn begins_clause(keyword: Keyword) -> bool {
    matches!(
        keyword,
        Keyword::SELECT
            | Keyword::FROM
            | Keyword::JOIN
            | Keyword::ON
            | Keyword::WHERE
            | Keyword::WHEN
            | Keyword::THEN
            | Keyword::VALUES
            | Keyword::SET
    )
}

/// Above so many operators and parentheses around each other, a text is read on
/// a stack of its own: the parser takes some 20 KB for each.
const SHALLOW: usize = 24;

/// The size of that stack, in bytes. Only what is used of it takes memory.
const STACK: usize = 128 << 20;

/// Runs what reads `text` where the stack is large enough for it; nothing if
/// there can be no such thread.
pub(crate) fn on_large_stack<T: Send>(
    text: &str,
    dialect: Dialect,
    read: impl FnOnce() -> T + Send,
) -> Option<T> {
    let is_shallow = operators(text) <= SHALLOW
        || tokens(text, dialect).is_ok_and(|tokens| longest_chain(&tokens) <= SHALLOW);
    if is_shallow {
        return Some(read());
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, read);
        thread.ok()?.join().ok()
    })
}

/// At most so many operators and parentheses are in a text, without reading it.
fn operators(text: &str) -> usize {
    const WORDS: [&str; 12] = [
        "and",
        "or",
        "not",
        "case",
        "is",
        "in",
        "like",
        "collate",
        "between",
        "union",
        "except",
        "intersect",
    ];
    let signs = text.bytes().filter(|b| b"([-+~!*/%|&=<>^#@:".contains(b)).count();
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let words = words.filter(|word| {
        (2..=9).contains(&word.len()) && WORDS.iter().any(|known| known.eq_ignore_ascii_case(word))
    });
    signs + words.count()
}

/// Gives each parameter the number by which its value is bound, as the database
/// counts: by place in the text.
fn number_parameters(
    tokens: Vec<TokenWithSpan>,
    dialect: Dialect,
) -> (Vec<TokenWithSpan>, Vec<Option<String>>) {
    let mut names: Vec<Option<String>> = Vec::new();
    let mut numbered: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut tokens = tokens.into_iter().peekable();
    while let Some(mut token) = tokens.next() {
        let name = match &token.token {
            Token::Placeholder(name) => Some(name.clone()),
            Token::Colon | Token::AtSign if dialect == Dialect::Sqlite => {
                let name = match tokens.peek().map(|next| &next.token) {
                    Some(Token::Word(word)) => Some(word.value.clone()),
                    Some(Token::Number(number, _)) => Some(number.clone()),
                    _ => None,
                };
                name.inspect(|_| drop(tokens.next())).map(|name| format!("{}{name}", token.token))
            }
            _ => None,
        };
        if let Some(name) = name
            && let Some(number) = number_of(&name, &mut names, dialect)
        {
            token.token = Token::Placeholder(format!("?{number}"));
        }
        numbered.push(token);
    }
    (numbered, names)
}

/// More are refused by every database.
const MOST_PARAMETERS: usize = 65_535;

fn number_of(name: &str, names: &mut Vec<Option<String>>, dialect: Dialect) -> Option<usize> {
    let by_number = match (dialect, name.split_at_checked(1)?) {
        (_, ("?", "")) => {
            names.push(None);
            return Some(names.len());
        }
        (Dialect::Sqlite, ("?", number)) | (Dialect::Postgres, ("$", number)) => {
            Some(number.parse::<usize>().ok().filter(|n| (1..=MOST_PARAMETERS).contains(n))?)
        }
        (Dialect::Sqlite, _) => None,
        _ => return None,
    };
    if let Some(number) = by_number {
        names.resize(names.len().max(number), None);
        return Some(number);
    }
    let known = names.iter().position(|known| known.as_deref() == Some(name));
    Some(known.map_or_else(
        || {
            names.push(Some(name.to_owned()));
            names.len()
        },
        |place| place + 1,
    ))
}

/// The number of a parameter in the tree, from zero.
pub(crate) fn parameter(placeholder: &str) -> Option<usize> {
    placeholder.strip_prefix('?')?.parse::<usize>().ok()?.checked_sub(1)
}
