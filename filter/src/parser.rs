//! From tokens to a checked tree. One function per level of the grammar, which names no level twice: an operand is
//! unary, what compares binds tighter than what tests for equality, AND tighter than OR, and NOT belongs to the operand
//! behind it alone.

use crate::{
    DEPTH_MAX, EXPRESSION_BYTES_MAX, Filter, FilterError, NAMES_MAX, Node, Number, Order, Place,
    lexer::{Lexer, Token},
    number,
};
use std::cmp::Ordering;

/// Characters of an expression that an error repeats.
const SHOWN_CHARS: usize = 40;

/// Parses and checks an expression.
pub(crate) fn parse(text: &str) -> Result<Filter, FilterError> {
    if text.len() > EXPRESSION_BYTES_MAX {
        return Err(FilterError::TooLong { bytes: text.len() });
    }
    let mut lexer = Lexer::new(text);
    let (token, at) = lexer.next()?;
    let mut parser = Parser { lexer, token, at, names: Vec::new(), nodes: 0, texts: 0, nested: 0 };
    let expression = parser.any()?;
    let root = parser.condition(expression)?.node;
    let names = parser.names.iter().map(|name| size_of::<Box<str>>() + name.len());
    let bytes = size_of::<Filter>()
        + 2 * size_of::<Node>() * parser.nodes
        + parser.texts
        + names.sum::<usize>();
    let names = parser.names.into_boxed_slice();
    Ok(Filter { names, root, nodes: parser.nodes, bytes })
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The next token, and where it begins.
    token: Token<'a>,
    at: usize,
    names: Vec<Box<str>>,
    /// Parts so far.
    nodes: usize,
    /// Bytes of texts so far.
    texts: usize,
    /// Operands that are being read within each other.
    nested: usize,
}

/// A part, and how deep it is.
struct Part {
    node: Node,
    depth: usize,
}

impl Part {
    /// Whether it is a constant of the grammar; what a minus is before is none.
    fn is_constant(&self) -> bool {
        matches!(self.node, Node::Null | Node::Bool(_) | Node::Number(_) | Node::Text(_))
    }

    /// Whether it is true, false or unknown by its form.
    fn is_condition(&self) -> bool {
        !matches!(self.node, Node::Property(_) | Node::Number(_) | Node::Text(_) | Node::Negate(_))
    }
}

type Parsed = Result<Part, FilterError>;

impl<'a> Parser<'a> {
    fn any(&mut self) -> Parsed {
        let first = self.all()?;
        self.list(first, Token::Or, Parser::all, Node::Or)
    }

    fn all(&mut self) -> Parsed {
        let first = self.equality()?;
        self.list(first, Token::And, Parser::equality, Node::And)
    }

    /// More conditions behind a first one, if there are any.
    fn list(
        &mut self,
        first: Part,
        between: Token<'static>,
        next: fn(&mut Parser<'a>) -> Parsed,
        make: fn(Vec<Node>) -> Node,
    ) -> Parsed {
        if self.token != between {
            return Ok(first);
        }
        let mut depth = first.depth;
        let mut conditions = vec![self.condition(first)?.node];
        while self.token == between {
            self.advance()?;
            let another = next(self)?;
            depth = depth.max(another.depth);
            conditions.push(self.condition(another)?.node);
        }
        self.part(make(conditions), depth)
    }

    fn equality(&mut self) -> Parsed {
        let mut left = self.comparison()?;
        loop {
            left = match self.token {
                Token::Symbol("=") => {
                    self.advance()?;
                    let right = self.comparison()?;
                    self.equal(left, right)?
                }
                Token::Symbol("<>") => {
                    self.advance()?;
                    let right = self.comparison()?;
                    let equal = self.equal(left, right)?;
                    self.not(equal)?
                }
                Token::Is => {
                    self.advance()?;
                    let negated = self.token == Token::Not;
                    if negated {
                        self.advance()?;
                    }
                    self.expect(Token::Null, "NULL or NOT NULL")?;
                    let null = Part { node: Node::Null, depth: 0 };
                    let is_null = self.pair(left, null, Node::Equal)?;
                    if negated { self.not(is_null)? } else { is_null }
                }
                _ => return Ok(left),
            };
        }
    }

    fn comparison(&mut self) -> Parsed {
        let mut left = self.operand()?;
        loop {
            let order = match self.token {
                Token::Symbol("<") => Some(Order::Less),
                Token::Symbol("<=") => Some(Order::LessOrEqual),
                Token::Symbol(">") => Some(Order::Greater),
                Token::Symbol(">=") => Some(Order::GreaterOrEqual),
                _ => None,
            };
            if let Some(order) = order {
                self.advance()?;
                let right = self.operand()?;
                self.check_ordered(&left)?;
                self.check_ordered(&right)?;
                left = self.pair(left, right, |pair| Node::Compare(order, pair))?;
                continue;
            }
            let negated = self.token == Token::Not;
            if negated {
                self.advance()?;
            }
            left = match self.token {
                Token::Between => self.between(left, negated)?,
                Token::In => self.within(&left, negated)?,
                Token::Contains => self.search(left, Place::Anywhere, negated)?,
                Token::StartsWith => self.search(left, Place::Start, negated)?,
                Token::EndsWith => self.search(left, Place::End, negated)?,
                _ if negated => {
                    return Err(self.unexpected("BETWEEN, IN, CONTAINS, STARTSWITH or ENDSWITH"));
                }
                _ => return Ok(left),
            };
        }
    }

    fn between(&mut self, value: Part, negated: bool) -> Parsed {
        self.advance()?;
        let low = self.operand()?;
        self.expect(Token::And, "AND")?;
        let high = self.operand()?;
        for part in [&value, &low, &high] {
            self.check_ordered(part)?;
        }
        if let (false, Node::Number(from), Node::Number(to)) = (negated, &low.node, &high.node)
            && to.cmp(*from) == Ordering::Less
        {
            return Err(self.meaningless(format!("BETWEEN {from} AND {to} holds for nothing")));
        }
        let depth = value.depth.max(low.depth).max(high.depth);
        let of = Box::new([value.node, low.node, high.node]);
        self.part(Node::Between { negated, of }, depth)
    }

    fn within(&mut self, left: &Part, negated: bool) -> Parsed {
        self.advance()?;
        self.expect(Token::Symbol("("), "(")?;
        let mut texts = vec![self.text()?];
        while self.token == Token::Symbol(",") {
            self.advance()?;
            texts.push(self.text()?);
        }
        self.expect(Token::Symbol(")"), ", or )")?;
        let Node::Property(property) = left.node else {
            return Err(self.meaningless("IN wants a property before it".to_owned()));
        };
        texts.sort_unstable();
        texts.dedup();
        self.texts += texts.len() * size_of::<Box<str>>();
        self.part(Node::In { negated, property, texts: texts.into_boxed_slice() }, 0)
    }

    fn search(&mut self, value: Part, place: Place, negated: bool) -> Parsed {
        self.advance()?;
        let wanted = self.text()?;
        let node = Node::Search { negated, place, value: Box::new(value.node), wanted };
        self.part(node, value.depth)
    }

    fn operand(&mut self) -> Parsed {
        if self.nested == DEPTH_MAX {
            return Err(FilterError::TooDeep { at: self.at });
        }
        self.nested += 1;
        let operand = match self.token {
            Token::Symbol("+") => {
                self.advance()?;
                self.operand()?
            }
            Token::Symbol("-") => {
                self.advance()?;
                let of = self.operand()?;
                self.part(Node::Negate(Box::new(of.node)), of.depth)?
            }
            Token::Not => {
                self.advance()?;
                let of = self.operand()?;
                let condition = self.condition(of)?;
                self.not(condition)?
            }
            Token::Symbol("(") => {
                self.advance()?;
                let inner = self.any()?;
                self.expect(Token::Symbol(")"), "an operator or )")?;
                inner
            }
            _ => self.literal()?,
        };
        self.nested -= 1;
        Ok(operand)
    }

    fn literal(&mut self) -> Parsed {
        let node = match self.token {
            Token::True => Node::Bool(true),
            Token::False => Node::Bool(false),
            Token::Null => Node::Null,
            Token::Decimal(digits) => Node::Number(self.decimal(digits)?),
            Token::Float(digits) => Node::Number(self.float(digits)?),
            Token::Name(name) => Node::Property(self.property(name)?),
            Token::Text(_) => {
                let text = self.text()?;
                return self.part(Node::Text(text), 0);
            }
            _ => return Err(self.unexpected("a property, a number, a text, NOT or (")),
        };
        self.advance()?;
        self.part(node, 0)
    }

    fn decimal(&self, digits: &str) -> Result<Number, FilterError> {
        let digits = digits.trim_end_matches(['l', 'L']);
        let value: i64 = digits.parse().map_err(|_| {
            self.meaningless(format!("{} is larger than {}", shown(digits), i64::MAX))
        })?;
        Ok(i32::try_from(value).map_or(Number::Long(value), Number::Int))
    }

    fn float(&self, digits: &str) -> Result<Number, FilterError> {
        match number::double(digits.as_bytes()) {
            Some(value) if value.is_finite() && value > 0.0 => Ok(Number::Double(value)),
            _ => Err(self.meaningless(format!(
                "{} is outside the range of floating-point numbers, which begins above 0",
                shown(digits)
            ))),
        }
    }

    /// Number of a property among the names.
    fn property(&mut self, name: &str) -> Result<usize, FilterError> {
        let known = self.names.iter().position(|known| **known == *name);
        if let Some(number) = known {
            return Ok(number);
        }
        if self.names.len() == NAMES_MAX {
            return Err(FilterError::TooManyNames { at: self.at });
        }
        self.names.push(name.into());
        Ok(self.names.len() - 1)
    }

    /// The text that stands here, without its quotes.
    fn text(&mut self) -> Result<Box<str>, FilterError> {
        let Token::Text(quoted) = self.token else { return Err(self.unexpected("a text")) };
        self.advance()?;
        let inner = quoted.get(1..quoted.len() - 1).unwrap_or_default();
        self.texts += inner.len();
        Ok(inner.replace("''", "'").into_boxed_str())
    }

    fn equal(&mut self, left: Part, right: Part) -> Parsed {
        if [&left, &right].iter().any(|part| part.node == Node::Null) {
            return Err(self.meaningless("NULL cannot be compared, IS NULL is meant".to_owned()));
        }
        let is_bool = |part: &Part| matches!(part.node, Node::Bool(_));
        if is_bool(&left) && right.is_constant() && !is_bool(&right) {
            return Err(self
                .meaningless("a truth value cannot be compared with another constant".to_owned()));
        }
        self.pair(left, right, Node::Equal)
    }

    /// Whether a part can be before or behind another: numbers can, and what has a value only with a message.
    fn check_ordered(&self, part: &Part) -> Result<(), FilterError> {
        match part.node {
            Node::Number(_) | Node::Property(_) | Node::Negate(_) => Ok(()),
            Node::Text(_) => {
                Err(self.meaningless("a text is neither larger nor smaller".to_owned()))
            }
            _ => Err(self.meaningless("a truth value is neither larger nor smaller".to_owned())),
        }
    }

    fn pair(
        &mut self,
        left: Part,
        right: Part,
        make: impl FnOnce(Box<[Node; 2]>) -> Node,
    ) -> Parsed {
        let depth = left.depth.max(right.depth);
        self.part(make(Box::new([left.node, right.node])), depth)
    }

    fn not(&mut self, of: Part) -> Parsed {
        self.part(Node::Not(Box::new(of.node)), of.depth)
    }

    /// Where a truth value is wanted a property may stand; it is none.
    fn condition(&mut self, part: Part) -> Parsed {
        match part.node {
            Node::Property(property) => self.part(Node::Cast(property), part.depth),
            _ if part.is_condition() => Ok(part),
            _ => Err(self
                .meaningless("a number or a text stands where a condition is wanted".to_owned())),
        }
    }

    /// A part above others that are so deep.
    fn part(&mut self, node: Node, depth: usize) -> Parsed {
        self.nodes += 1;
        if depth == DEPTH_MAX {
            return Err(FilterError::TooDeep { at: self.at });
        }
        Ok(Part { node, depth: depth + 1 })
    }

    fn expect(&mut self, token: Token<'static>, expected: &'static str) -> Result<(), FilterError> {
        if self.token == token { self.advance() } else { Err(self.unexpected(expected)) }
    }

    fn advance(&mut self) -> Result<(), FilterError> {
        (self.token, self.at) = self.lexer.next()?;
        Ok(())
    }

    fn unexpected(&self, expected: &'static str) -> FilterError {
        let found = match self.token {
            Token::End => "the end".to_owned(),
            Token::Decimal(text) | Token::Float(text) | Token::Name(text) | Token::Text(text) => {
                shown(text)
            }
            Token::Symbol(symbol) => symbol.to_owned(),
            keyword => format!("{keyword:?}").to_uppercase(),
        };
        FilterError::Unexpected { found, at: self.at, expected }
    }

    fn meaningless(&self, reason: String) -> FilterError {
        FilterError::Meaningless { reason, at: self.at }
    }
}

/// The beginning of a text, for errors.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}
