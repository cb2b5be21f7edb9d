"""Every table's columns: name, type, one sentence, unit. What a shard looks like is the engine's (leaven/shards.py).

A writer takes one of these schemas and a reader may rely on it; docs/tables.md is generated from here.
Columns `name` and `version` name the documents, pool, mix or study that a row belongs to.
"""

from __future__ import annotations

import pyarrow as pa

TEXT = pa.string()
LABEL = pa.dictionary(pa.int32(), pa.string())  # few distinct values: costs nothing on disk


def _table(sentence: str, *columns: tuple) -> pa.Schema:
    """A schema from (name, type, sentence[, unit]) rows; a column may be null where its sentence ends in `or null.`"""
    fields = []
    for name, kind, about, *unit in columns:
        meta = {"about": about} | ({"unit": unit[0]} if unit else {})
        fields.append(pa.field(name, kind, nullable=about.endswith("or null."), metadata=meta))
    return pa.schema(fields, metadata={"about": sentence})


NAMED = (
    ("name", LABEL, "Name of the corpus of documents, pool, mix or study."),
    ("version", LABEL, "Its version."),
)

DOCUMENTS = _table(
    "One text as found.",
    *NAMED,
    ("id", TEXT, "BLAKE2b-128 of (source, revision, locator, text), each length-prefixed UTF-8.", "32 hex digits"),
    ("source", LABEL, "Name of the source the text came from."),
    ("locator", TEXT, "File and record within it, as file#record."),
    ("url", TEXT, "Address the record itself states, or null."),
    ("fetched", TEXT, "Time of capture that the record itself states, ISO 8601, or null."),
    ("media", LABEL, "Form of the record: html, wet, text, jsonl, parquet."),
    ("extractor", LABEL, "Program that turned the record into text: trafilatura, resiliparse, none."),
    ("title", TEXT, "Title that the record states, or null."),
    ("metadata", TEXT, "Further fields of the record as a JSON object, or null."),
    ("text_hash", TEXT, "BLAKE2b-128 of the text; equal texts have equal hashes.", "32 hex digits"),
    ("chars", pa.int32(), "Length of the text.", "Unicode code points"),
    ("bytes", pa.int32(), "Length of the text in UTF-8.", "bytes"),
    ("text", TEXT, "The text."),
)

FAILURES = _table(
    "One record that did not become a document.",
    *NAMED,
    ("stage", LABEL, "Step of curation at which it ended: read, extract, score."),
    ("outcome", LABEL, "`dropped` (it was read and is not wanted) or `failed` (it could not be read or used)."),
    ("reason", LABEL, "Defect in one word, e.g. metadata_format, empty_text, truncated."),
    ("file", TEXT, "File as it stands in locators."),
    ("record", pa.int64(), "Number of the record in the file from 0, or null."),
    ("offset", pa.int64(), "Position of the record in the file as stored, or null.", "bytes"),
    ("url", TEXT, "Address the record states, or null."),
    ("message", TEXT, "What went wrong, for a person, or null."),
)

SEGMENTS = _table(
    "A character span [start, end) of a document.",
    *NAMED,
    ("document_id", TEXT, "Document it belongs to.", "32 hex digits"),
    ("segment", pa.int32(), "Number of the segment in its document from 0."),
    ("start", pa.int32(), "First character.", "Unicode code points"),
    ("end", pa.int32(), "One past the last character.", "Unicode code points"),
    ("text_hash", TEXT, "BLAKE2b-128 of the segment's text.", "32 hex digits"),
)

SCORES = _table(
    "One scorer's measurement of a document or segment; every document has a row for every measure of a scorer.",
    *NAMED,
    ("scorer", LABEL, "Name of the scorer."),
    ("scorer_version", LABEL, "Version constant of the scorer (with the model's version where it has one)."),
    ("document_id", TEXT, "Document measured.", "32 hex digits"),
    ("segment", pa.int32(), "Segment measured (the whole document where absent), or null."),
    ("measure", LABEL, "What was measured; the name that score('...') and label('...') take."),
    ("number", pa.float64(), "The measurement, or null."),
    ("label", LABEL, "The measurement where it is a class, or null."),
    ("status", LABEL, "`scored`, `not_reached` or `failed`."),
)

HITS = _table(
    "One blocklist match, kept whether or not it decided anything.",
    *NAMED,
    ("document_id", TEXT, "Document it stands in.", "32 hex digits"),
    ("list", LABEL, "Name of the term list."),
    ("list_version", LABEL, "Version of the term list."),
    ("term", LABEL, "The term as the list spells it."),
    ("term_version", LABEL, "Version of the list in which this term was added or last changed."),
    ("category", LABEL, "One of the nine categories."),
    ("role", LABEL, "`entity`, `risk` or `instant`: what the term does in blocklist_flag."),
    ("start", pa.int32(), "First character of the match in the document's text.", "Unicode code points"),
    ("end", pa.int32(), "One past its last character.", "Unicode code points"),
    ("surface", TEXT, "The match as the document spells it."),
)

SPANS = _table(
    "One span of a text that a scorer found; never what stands in it.",
    *NAMED,
    ("document_id", TEXT, "Document it stands in.", "32 hex digits"),
    ("scorer", LABEL, "Name of the scorer."),
    ("scorer_version", LABEL, "Its version."),
    ("kind", LABEL, "What was found, in one word of the scorer's: email, phone, ip, key, card, iban, reserved."),
    ("start", pa.int32(), "First character of the span in the document's text.", "Unicode code points"),
    ("end", pa.int32(), "One past its last character.", "Unicode code points"),
    ("detail", LABEL, "Finer class, such as the form of a key or the issuer of a card, or null."),
)

ITEMS = _table(
    "One evaluation item that documents and rewrites are searched for; name and version are the index's.",
    *NAMED,
    ("set", LABEL, "Its question set, as `questions` and `evals` name it."),
    ("item_id", TEXT, "Its id in the set, as `question_id` of `questions` and `evals`."),
    ("group", LABEL, "Its category, as the evaluation file states it, or `all`."),
    ("long_units", pa.int32(), "Parts of it that are looked for by 13-grams."),
    (
        "short_units",
        pa.int32(),
        "Parts of 6 to 12 words that are looked for whole; with none of either it is too short.",
    ),
    ("text", TEXT, "Its question, without labels and lines that many items share."),
)

MATCHES = _table(
    "One evaluation item found in a document or rewrite, or compared with it; one row a rule.",
    *NAMED,
    ("document_id", TEXT, "Document it was found in, or that the rewrite was made from, or null."),
    ("rewrite", TEXT, "Rewrite it was found in, or null."),
    ("segment", pa.int32(), "Segment of the document that the rewrite was made from, or null."),
    ("benchmarks", LABEL, "Version of the index of items."),
    ("set", LABEL, "Question set of the item."),
    ("item_id", TEXT, "The item."),
    ("rule", LABEL, "`ngram13`, `short` or `embedding`."),
    ("grams", pa.int32(), "Shared n-grams: 13-grams, matching words (short), rare 5-grams and terms (embedding)."),
    ("coverage", pa.float64(), "Largest share of the words of a unit of the item that stand in the text, or null."),
    ("similarity", pa.float64(), "Cosine of the embeddings of the item and of the span, or null."),
    ("start", pa.int32(), "First character of the longest matching stretch in the text.", "Unicode code points"),
    ("end", pa.int32(), "One past its last character.", "Unicode code points"),
    ("stratum", LABEL, "`matched`, `topic`, or `clean` (compared by embedding and not alike)."),
)

JUDGEMENTS = _table(
    "What a model answered of one chunk of a document by a rubric, well-formed or not.",
    *NAMED,
    ("document_id", TEXT, "Document judged.", "32 hex digits"),
    ("scorer", LABEL, "Name of the rubric."),
    ("scorer_version", LABEL, "Its version, with the first digits of its hash."),
    ("chunk", pa.int32(), "Number of the chunk in its document from 0."),
    ("start", pa.int32(), "First character of the chunk.", "Unicode code points"),
    ("end", pa.int32(), "One past its last character.", "Unicode code points"),
    ("model", LABEL, "Model asked."),
    ("model_revision", LABEL, "Its declared revision."),
    ("rubric_hash", LABEL, "Hash of prompt, answers and chunk size.", "32 hex digits"),
    ("outcome", LABEL, "`ok`, `malformed` (no answer by the rubric), `refused` or `error`."),
    ("answer", TEXT, "The answer as it came, or null."),
    ("detail", TEXT, "What is wrong with it, or null."),
    ("prompt_tokens", pa.int32(), "Tokens of the question, where the endpoint says, or null.", "tokens"),
    ("completion_tokens", pa.int32(), "Tokens of the answer, where the endpoint says, or null.", "tokens"),
)

PREDICTIONS = _table(
    "What a classifier says of one labelled text, kept by a calibration.",
    *NAMED,
    ("labels", LABEL, "Name of the file of labels, without its endings."),
    ("split", LABEL, "train, valid or test."),
    ("kind", LABEL, "Kind of text that the labels state; empty where they do not."),
    ("text_id", TEXT, "Text, as the labels name it."),
    ("label", pa.int8(), "What the labels say: 0 or 1."),
    ("number", pa.float64(), "Probability that the classifier gives."),
)

DUPLICATES = _table(
    "What else in the corpus a document is a copy of; one row a document and method, in no cluster too (size 1).",
    *NAMED,
    ("document_id", TEXT, "Document.", "32 hex digits"),
    ("method", LABEL, "`exact` (equal texts), `url` (URLs that mean one page) or `near` (by MinHash; holds `exact`)."),
    ("cluster", TEXT, "Smallest document id of those that hang together.", "32 hex digits"),
    ("size", pa.int32(), "Documents of the cluster; 1 where the document stands alone."),
    ("representative", TEXT, "Its longest document; of equally long ones the smallest id.", "32 hex digits"),
    ("jaccard", pa.float64(), "Estimated Jaccard similarity of the text to the representative's, or null."),
    ("text_hash", TEXT, "Smallest text hash of the cluster; decides whether it is held out.", "32 hex digits"),
)

PARAGRAPHS = _table(
    "One paragraph (what stands between line breaks, 20 characters or more) that stands in several documents.",
    *NAMED,
    ("paragraph", TEXT, "XXH3-64 of its text without white space at its ends.", "16 hex digits"),
    ("documents", pa.int64(), "Documents that it stands in."),
    ("occurrences", pa.int64(), "Times that it stands in them."),
    ("chars", pa.int32(), "Its length.", "Unicode code points"),
    ("document_id", TEXT, "First document that it stands in, in the order of the corpus.", "32 hex digits"),
    ("start", pa.int32(), "First character of it there.", "Unicode code points"),
    ("end", pa.int32(), "One past its last character.", "Unicode code points"),
)

REWRITES = _table(
    "A segment as a model rewrote it, or a net-new document; every one that was asked for, accepted or not.",
    *NAMED,
    ("id", TEXT, "BLAKE2b-128 of (document or scenario, segment, style, completion, sample, text).", "32 hex digits"),
    ("document_id", TEXT, "Document it was made from, or null."),
    ("segment", pa.int32(), "Segment it was made from, or null."),
    ("start", pa.int32(), "First character of the segment in its document, or null."),
    ("end", pa.int32(), "One past its last character, or null."),
    ("operation", LABEL, "`replace` (stands for the segment), `append` (stands after it) or `new` (a document)."),
    ("style", LABEL, "Style, as name@version."),
    ("prompt_hash", LABEL, "Hash of the style's prompt template and of what it is asked with.", "32 hex digits"),
    ("teacher", LABEL, "Model that wrote it."),
    ("teacher_revision", LABEL, "Its declared revision."),
    ("teacher_family", LABEL, "Family of models that it is of, as the recipe states it; empty where it does not."),
    ("sampling", LABEL, "How it was sampled, as a JSON object."),
    ("sample", pa.int32(), "Number of the sample from 0."),
    ("completion", TEXT, "Key under which the answer is kept in completions.", "32 hex digits"),
    ("finish", LABEL, "How the answer ended: stop, length, refused or error."),
    ("status", LABEL, "`accepted`, `rejected` (a check failed) or `failed` (there is no whole answer)."),
    ("accepted", pa.bool_(), "Whether every check passed; only then can it enter a pool."),
    ("reason", LABEL, "First check that failed, or the way the answer failed, or null."),
    ("failed", pa.list_(TEXT), "Names of all checks that failed, in the gate's order; empty where accepted."),
    ("detail", TEXT, "What the endpoint said of an answer that failed, or null."),
    ("scenario", LABEL, "Scenario that a net-new document tells, or null."),
    ("twin", TEXT, "Twins share it: the same scenario, form and topics told with other acts, or null."),
    ("role", LABEL, "Which twin it is: aligned, misaligned or neutral, or null."),
    ("declared", pa.bool_(), "Whether the text begins by declaring that it is synthetic."),
    ("source_tokens", pa.int32(), "Tokens of the segment; 0 for a net-new document.", "tokens"),
    ("text_tokens", pa.int32(), "Tokens of the text under the recipe's tokenizer.", "tokens"),
    ("prompt_tokens", pa.int32(), "Tokens of the question, where the teacher says, or null.", "tokens"),
    ("completion_tokens", pa.int32(), "Tokens of the answer, where the teacher says, or null.", "tokens"),
    (
        "source_hash",
        TEXT,
        "Hash that decides whether it is held out: its document's, or of its twins.",
        "32 hex digits",
    ),
    ("text_hash", TEXT, "BLAKE2b-128 of the text.", "32 hex digits"),
    ("chars", pa.int32(), "Length of the text.", "Unicode code points"),
    ("bytes", pa.int32(), "Length of the text in UTF-8.", "bytes"),
    ("text", TEXT, "The text; empty where the answer failed."),
)

CHECKS = _table(
    "What one check of the gate said of one rewrite.",
    *NAMED,
    ("rewrite", TEXT, "Rewrite checked.", "32 hex digits"),
    ("check", LABEL, "Name of the check."),
    ("number", pa.float64(), "What it measured, in the check's own unit (docs/rewriting.md), or null."),
    ("limit", pa.float64(), "The number that it may not pass, or null."),
    ("passed", pa.bool_(), "Whether the rewrite passes."),
    ("detail", TEXT, "What was found, such as the number that is missing, or null."),
)

DIVERSITY = _table(
    "One measure of how varied the accepted rewrites of a style are, or those of all styles, beside their sources'.",
    *NAMED,
    ("style", LABEL, "Style, as name@version (all together where absent), or null."),
    ("teacher", LABEL, "Model that wrote them (all together where absent), or null."),
    ("measure", LABEL, "What was measured (docs/diversity.md)."),
    ("number", pa.float64(), "The measure of the rewrites; absent where there is too little to measure, or null."),
    ("source_number", pa.float64(), "The same of the segments that those very rewrites were made from, or null."),
    ("texts", pa.int64(), "Rewrites that it is about: accepted ones, or asked for, or canaries, by the measure."),
    ("sampled", pa.int32(), "Those of them that were measured."),
    ("words", pa.int64(), "Words of the rewrites measured; 0 where words do not matter.", "words"),
    ("detail", TEXT, "What was found, such as the commonest opening or two near-duplicates, or null."),
    ("limit", LABEL, "The limits on it, as the recipe stated them when it was built, or null."),
    ("passed", pa.bool_(), "Whether it lies within them; absent where there are none or too little, or null."),
)

DECISIONS = _table(
    "What a pool's conditions said of each document (of a pool of rewrites: each rewrite) considered, kept or not.",
    *NAMED,
    ("document_id", TEXT, "Document considered; in a pool of rewrites the rewrite.", "32 hex digits"),
    ("documents", LABEL, "Corpus or rewrites it stands in, as name@version."),
    ("kept", pa.bool_(), "Whether every condition held."),
    ("reason", LABEL, "Name of the first condition that failed, or null."),
    ("failed", pa.list_(TEXT), "Names of all conditions that failed, in the recipe's order; empty where kept."),
    ("heldout", pa.bool_(), "Whether the document belongs to the held-out share."),
    ("tokens", pa.int32(), "Tokens of the text under the pool's tokenizer, without end-of-text.", "tokens"),
)

EDITS = _table(
    "One rewrite that a pool holds, and which tokens of its item the rewrite wrote.",
    *NAMED,
    ("item_id", TEXT, "Item of the pool: the rewrite itself, or the document that it was put into.", "32 hex digits"),
    ("rewrite", TEXT, "The rewrite.", "32 hex digits"),
    ("rewrites", LABEL, "Where it stands, as name@version."),
    ("document_id", TEXT, "Document it was made from, or null."),
    ("operation", LABEL, "`replace`, `append` or `new`."),
    ("style", LABEL, "Style, as name@version."),
    ("teacher", LABEL, "Model that wrote it."),
    ("teacher_revision", LABEL, "Its declared revision."),
    ("teacher_family", LABEL, "Family of models that it is of; empty where the rewrites do not say."),
    ("heldout", pa.bool_(), "Whether the item belongs to the held-out share."),
    ("first_token", pa.int32(), "First token of the item that begins in its text.", "tokens"),
    ("tokens", pa.int32(), "Tokens that begin in its text; where it is the item, with end-of-text.", "tokens"),
    ("tokens_in", pa.int32(), "Tokens of the document as found that it was put in the place of.", "tokens"),
)

SEQUENCES = _table(
    "One sequence of a pool: exactly sequence_length tokens in pieces of documents.",
    ("pool_row", pa.int64(), "Number of the sequence in its pool from 0."),
    ("loss_tokens", pa.int32(), "Tokens that bear loss: the length less the number of pieces.", "tokens"),
    ("bytes", pa.int32(), "UTF-8 bytes of text that the tokens stand for, end-of-text excluded.", "bytes"),
    ("item_ids", pa.list_(TEXT), "Document or rewrite of each piece."),
    ("item_kinds", pa.list_(TEXT), "`document` or `rewrite`, for each piece."),
    ("doc_starts", pa.list_(pa.int32()), "Token of the sequence at which each piece begins; the first is 0.", "tokens"),
    ("doc_offsets", pa.list_(pa.int32()), "Token of its document at which each piece begins.", "tokens"),
    ("tokens", pa.list_(pa.field("element", pa.int32(), nullable=False)), "The token ids."),
)

METRICS = _table(
    "One logged training step of a run.",
    *NAMED,
    ("arm", LABEL, "Arm of the study."),
    ("seed", pa.int32(), "Seed of the run."),
    ("step", pa.int32(), "Optimizer steps done."),
    ("tokens", pa.int64(), "Tokens consumed so far.", "tokens"),
    ("loss", pa.float64(), "Mean training loss over the tokens that bear loss in this step.", "nats a token"),
    ("lr", pa.float64(), "Learning rate of this step."),
    ("grad_norm", pa.float64(), "Norm of the gradient before clipping."),
    ("tokens_per_second", pa.float64(), "Throughput since the last row.", "tokens a second"),
    ("mfu", pa.float64(), "Model FLOPs utilisation since the last row where the device's peak is known, or null."),
    ("branch", LABEL, "`trunk` (shared by all arms of the seed) or the arm's name."),
)

QUESTIONS = _table(
    "One option of one question, tokenized so that the trainer needs no tokenizer.",
    ("question_id", TEXT, "Question; its options share it."),
    ("set", LABEL, "Name of the question set."),
    ("group", LABEL, "What the question is about, for splitting results (e.g. ai, person)."),
    ("topic", LABEL, "Finer class, e.g. the frame or situation, or null."),
    ("order", pa.int8(), "0 or 1: which order the options are listed in, where the prompt lists them."),
    ("option", pa.int8(), "Number of the option from 0, the same in both orders."),
    ("role", LABEL, "`aligned`, `misaligned`, `right`, `wrong`: what choosing it means."),
    ("option_start", pa.int32(), "Token at which the option begins.", "tokens"),
    ("option_bytes", pa.int32(), "UTF-8 bytes of the option.", "bytes"),
    ("tokens", pa.list_(pa.field("element", pa.int32(), nullable=False)), "Prompt and option."),
)

EVALS = _table(
    "One raw log-probability: of an option of a question, or of a held-out sequence of a component.",
    *NAMED,
    ("arm", LABEL, "Arm of the study."),
    ("seed", pa.int32(), "Seed of the run."),
    ("step", pa.int32(), "Optimizer steps the model had done."),
    ("set", LABEL, "Question set, or `heldout`."),
    ("group", LABEL, "Group of the question, or the component of the held-out sequence."),
    ("topic", LABEL, "Finer class of the question, or null."),
    ("question_id", TEXT, "Question, or pool row of the held-out sequence."),
    ("order", pa.int8(), "Order of the options; 0 for held-out sequences."),
    ("option", pa.int8(), "Option; 0 for held-out sequences."),
    ("role", LABEL, "What choosing the option means, or `heldout`."),
    ("logprob", pa.float64(), "Sum of log-probabilities of the option's (or sequence's loss-bearing) tokens.", "nats"),
    ("unigram_logprob", pa.float64(), "The same under token counts of the arm's own mix (add-one).", "nats"),
    ("tokens", pa.int32(), "Tokens summed over.", "tokens"),
    ("bytes", pa.int32(), "UTF-8 bytes those tokens stand for.", "bytes"),
)

CONTRASTS = _table(
    "One measure of an arm, or its difference between two arms, with the SQL that made it.",
    *NAMED,
    ("measure", LABEL, "`cloze_margin` (nats a byte), `propensity` or `first_listed` (shares), or `bits_per_byte`."),
    ("set", LABEL, "Question set, or `heldout`."),
    ("group", LABEL, "Group of the questions or component of the held-out sequences; `all` takes them together."),
    ("a", LABEL, "Arm measured."),
    ("b", LABEL, "Arm subtracted from it; without one the row is arm a by itself, or null."),
    ("value", pa.float64(), "Mean over seeds of the measure, or of its paired difference a - b."),
    ("t_low", pa.float64(), "Lower end of the 95 % t interval over seeds; from three seeds up, or null."),
    ("t_high", pa.float64(), "Its upper end, or null."),
    ("bootstrap_low", pa.float64(), "2.5th percentile over resampled questions, seeds averaged first, or null."),
    ("bootstrap_high", pa.float64(), "97.5th percentile of the same, or null."),
    ("seeds", pa.int32(), "Seeds that have every arm of the row."),
    ("items", pa.int32(), "Questions, or held-out sequences, of each seed."),
    ("by_seed", pa.list_(pa.float64()), "The value of each seed, in the order of the seeds."),
    ("unigram", pa.float64(), "The same from token counts of the arms' own mixes, or null."),
    ("longest", pa.float64(), "Propensity of always taking the longest option (in bytes), or null."),
    ("is_primary", pa.bool_(), "Whether the study named this contrast before it ran."),
    ("query", LABEL, "SQL over the catalog that gives value, t interval, by_seed and baselines of this row."),
)

TABLES: dict[str, pa.Schema] = {
    "documents": DOCUMENTS,
    "failures": FAILURES,
    "segments": SEGMENTS,
    "scores": SCORES,
    "hits": HITS,
    "spans": SPANS,
    "items": ITEMS,
    "matches": MATCHES,
    "judgements": JUDGEMENTS,
    "predictions": PREDICTIONS,
    "duplicates": DUPLICATES,
    "paragraphs": PARAGRAPHS,
    "rewrites": REWRITES,
    "checks": CHECKS,
    "diversity": DIVERSITY,
    "decisions": DECISIONS,
    "edits": EDITS,
    "sequences": SEQUENCES,
    "metrics": METRICS,
    "questions": QUESTIONS,
    "evals": EVALS,
    "contrasts": CONTRASTS,
}
