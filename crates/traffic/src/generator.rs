//! Makes marked packets: sizes, flows, numbers.

use crate::Error;
use crate::frame::{Field, Shape, Template};
use crate::mark::Mark;

/// How long packets are. Lengths are without FCS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// All of one length.
    Fixed(usize),
    /// Every length from one to another, in a random order, equally often.
    Range(usize, usize),
    /// Simple IMIX: 7 of 64 bytes, 4 of 594 and 1 of 1518, with FCS. Where a packet of the shape needs more than 64, the
    /// shortest that it can be.
    Imix,
}

/// What a generator makes.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What packets are made of.
    pub shape: Shape,
    /// How long they are.
    pub sizes: Sizes,
    /// How many flows, one packet of each in turn.
    pub flows: u32,
    /// What tells flows apart: the first field varies fastest.
    pub fields: Vec<Field>,
    /// Of the order of lengths.
    pub seed: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            shape: Shape::default(),
            sizes: Sizes::Fixed(crate::frame::SHORTEST),
            flows: 1,
            fields: vec![Field::SourcePort, Field::SourceAddress],
            seed: 1,
        }
    }
}

/// Makes packets.
#[derive(Debug)]
pub struct Generator {
    templates: Vec<Template>,
    order: Order,
    fields: Vec<Field>,
    /// The next number of each flow, and the flow whose turn it is.
    next: Vec<u64>,
    flow: u32,
}

/// Which template is next.
#[derive(Debug)]
enum Order {
    /// One after the other, round and round.
    Turns(Vec<usize>, usize),
    /// At random.
    Random(fastrand::Rng),
}

/// Simple IMIX, with FCS, and how its twelve packets follow one another.
const IMIX: [usize; 3] = [64, 594, 1518];
const IMIX_ORDER: [usize; 12] = [0, 1, 0, 0, 1, 0, 2, 0, 1, 0, 0, 1];
const FCS: usize = 4;

impl Generator {
    /// A generator of packets as planned.
    ///
    /// # Errors
    /// When the shape is none, lengths are too small for it or too large, or the fields can't tell so many flows apart.
    pub fn new(plan: &Plan) -> Result<Self, Error> {
        let shape = &plan.shape;
        let (templates, order) = match plan.sizes {
            Sizes::Fixed(length) => (vec![shape.template(length)?], Order::Turns(vec![0], 0)),
            Sizes::Range(first, last) => {
                if first > last {
                    return Err(Error::Range { first, last });
                }
                // The ends first: who asks for lengths that there are not is told so at once.
                shape.template(first)?;
                shape.template(last)?;
                let templates =
                    (first..=last).map(|length| shape.template(length)).collect::<Result<_, _>>()?;
                (templates, Order::Random(fastrand::Rng::with_seed(plan.seed)))
            }
            Sizes::Imix => {
                let lengths = IMIX.map(|length| (length - FCS).max(shape.shortest()));
                let templates =
                    lengths.iter().map(|&length| shape.template(length)).collect::<Result<_, _>>()?;
                (templates, Order::Turns(IMIX_ORDER.to_vec(), 0))
            }
        };
        Self::with(templates, order, plan)
    }

    /// A generator of these packets, one after the other, round and round; `plan` says what is varied. Those that have no
    /// room for a mark are sent without.
    ///
    /// # Errors
    /// When there is none, or the fields can't tell so many flows apart.
    pub fn of_templates(templates: Vec<Template>, plan: &Plan) -> Result<Self, Error> {
        let order = Order::Turns((0..templates.len()).collect(), 0);
        Self::with(templates, order, plan)
    }

    fn with(templates: Vec<Template>, order: Order, plan: &Plan) -> Result<Self, Error> {
        if templates.is_empty() {
            return Err(Error::NoTemplates);
        }
        let flows = plan.flows.max(1);
        let usable = |field: &&Field| templates.iter().any(|template| template.has(**field));
        let mut fields: Vec<Field> = Vec::new();
        for &field in plan.fields.iter().filter(usable) {
            // Named twice it has no more values than named once.
            if !fields.contains(&field) {
                fields.push(field);
            }
        }
        let possible = fields.iter().map(|field| u64::from(field.values())).fold(1, u64::saturating_mul);
        if u64::from(flows) > possible {
            return Err(Error::Flows { wanted: flows, possible });
        }
        Ok(Self { templates, order, fields, next: vec![0; flows as usize], flow: 0 })
    }

    /// Writes the next packet to the start of `frame`, sent at `time`, and returns its length. `None`: `frame` is too
    /// short for it, and it is passed over.
    #[inline]
    pub fn next(&mut self, frame: &mut [u8], time: u64) -> Option<usize> {
        let chosen = match &mut self.order {
            Order::Turns(turns, at) => {
                let chosen = turns.get(*at).copied().unwrap_or_default();
                *at = if at.wrapping_add(1) >= turns.len() { 0 } else { at.wrapping_add(1) };
                chosen
            }
            Order::Random(random) => random.usize(..self.templates.len()),
        };
        let template = self.templates.get(chosen)?;
        let length = template.copy(frame)?;
        let flow = self.flow;
        let number = self.next.get_mut(flow as usize)?;
        let mark = Mark { flow, number: *number, time };
        *number = number.wrapping_add(1);
        self.flow = if flow.wrapping_add(1) as usize >= self.next.len() { 0 } else { flow.wrapping_add(1) };
        if flow > 0 {
            let mut rest = flow;
            for &field in &self.fields {
                let values = field.values();
                template.vary(frame, field, (rest % values) as u16);
                rest /= values;
                if rest == 0 {
                    break;
                }
            }
        }
        template.mark(frame, mark);
        Some(length)
    }

    /// The longest packet that it makes, in bytes without FCS.
    pub fn longest(&self) -> usize {
        self.templates.iter().map(|template| template.bytes().len()).max().unwrap_or_default()
    }

    /// The mean length of its packets, in bytes without FCS.
    pub fn mean(&self) -> f64 {
        let length = |index: &usize| self.templates.get(*index).map_or(0, |template| template.bytes().len());
        let (sum, count) = match &self.order {
            Order::Turns(turns, _) => (turns.iter().map(length).sum::<usize>(), turns.len()),
            Order::Random(_) => {
                ((0..self.templates.len()).map(|index| length(&index)).sum(), self.templates.len())
            }
        };
        sum as f64 / count.max(1) as f64
    }

    /// Whether every packet carries a mark.
    pub fn marks_all(&self) -> bool {
        self.templates.iter().all(Template::takes_mark)
    }
}
