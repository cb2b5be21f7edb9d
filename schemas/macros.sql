-- The part of a reference before the @.
CREATE MACRO ref_name(ref) AS split_part(ref, '@', 1);

-- The version of a name that was made last.
CREATE MACRO newest_version(of_kind, of_name) AS (
  SELECT any_value(o.version) FROM outputs o WHERE o.kind = of_kind AND o.name = of_name AND o.is_newest);

-- The version in a reference, or the newest where it has none.
CREATE MACRO ref_version(of_kind, ref) AS
  CASE WHEN contains(ref, '@') THEN split_part(ref, '@', 2) ELSE newest_version(of_kind, split_part(ref, '@', 1)) END;

-- What a mix holds by phase and component: planned, written, and what bears loss.
CREATE MACRO composition(mix) AS TABLE
SELECT p.mix, p.version, p.seed, p.position, p.phase, p.component, p.pool, p.ratio, p.planned,
       p.replaced, coalesce(w.sequences, 0) AS written,
       coalesce(w.sequences, 0) / sum(w.sequences) OVER phase AS sequence_share,
       coalesce(w.loss_tokens, 0) AS loss_tokens,
       coalesce(w.loss_tokens, 0) / sum(w.loss_tokens) OVER phase AS loss_share,
       coalesce(w.bytes, 0) AS bytes, w.last_epoch
FROM phases p LEFT JOIN (
  SELECT s.seed, s.phase, s.component, count(*) AS sequences, sum(s.loss_tokens)::BIGINT AS loss_tokens,
         sum(s.bytes)::BIGINT AS bytes, max(s.epoch) AS last_epoch
  FROM shards s WHERE s.mix = ref_name(mix) AND s.version = ref_version('mixes', mix) GROUP BY ALL
) w USING (seed, phase, component)
WHERE p.mix = ref_name(mix) AND p.version = ref_version('mixes', mix)
WINDOW phase AS (PARTITION BY p.seed, p.position)
ORDER BY p.seed, p.position, p.component;

-- Documents that the blocklist flags, by the newest term lists; the same rule as blocklist_flag in a pool's [keep]. With
-- a window the terms must stand in one stretch, which begins where a hit begins and takes every hit that begins at most
-- so many characters after that hit's end; `gap` is the least distance between two terms of opposite roles. `roles` gives
-- terms other roles, as in MAP {'agent': 'risk'}.
CREATE MACRO flagged(documents, distinct_terms := 2, "window" := NULL, instant := true, without := [], roles := MAP {}) AS TABLE
WITH h AS (
  SELECT c.document_id, c.term, coalesce(map_extract_value(roles, c.term), c.role) AS role, c.start, c."end"
  FROM hits_current c
  WHERE c.name = ref_name(documents) AND c.version = ref_version('documents', documents)
    AND NOT list_contains(without, c.term)
),
nearest AS ( -- characters between two terms of opposite roles, and whether a stretch has enough, where a window asks
  SELECT g.document_id, min(g.gap) AS gap, bool_or(g.near) AS near FROM (
    SELECT h.document_id, h.start - CASE h.role
        WHEN 'risk' THEN max(h."end") FILTER (WHERE h.role = 'entity') OVER before
        WHEN 'entity' THEN max(h."end") FILTER (WHERE h.role = 'risk') OVER before END AS gap,
      bool_or(h.role = 'entity') OVER stretch AND bool_or(h.role = 'risk') OVER stretch
        AND count(DISTINCT h.term) OVER stretch >= distinct_terms AS near
    FROM h WHERE "window" IS NOT NULL
    WINDOW before AS (
      PARTITION BY h.document_id ORDER BY h.start, h."end" ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),
    stretch AS (
      PARTITION BY h.document_id ORDER BY h.start::BIGINT
      RANGE BETWEEN CURRENT ROW AND h."end"::BIGINT - h.start + coalesce("window", 0) FOLLOWING)
  ) g GROUP BY g.document_id
)
SELECT t.document_id, count(*) AS terms, sum(t.hits)::BIGINT AS hits,
       count(*) FILTER (WHERE t.instants) AS instant_terms, count(*) FILTER (WHERE t.entities) AS entity_terms,
       count(*) FILTER (WHERE t.risks) AS risk_terms,
       any_value(n.gap) AS gap
FROM (
  SELECT h.document_id, h.term, count(*) AS hits, bool_or(h.role = 'instant') AS instants,
         bool_or(h.role = 'entity') AS entities, bool_or(h.role = 'risk') AS risks
  FROM h GROUP BY h.document_id, h.term
) t LEFT JOIN nearest n ON n.document_id = t.document_id
GROUP BY t.document_id
HAVING (instant AND bool_or(t.instants))
    OR (bool_or(t.entities) AND bool_or(t.risks) AND count(*) >= distinct_terms
        AND ("window" IS NULL OR coalesce(bool_or(n.near), false)));

-- Term T and document D: D is out of the pool because of T alone. Without T's hits no blocklist_flag that turned D away
-- would, and no other condition did. Conditions that are not exactly `not blocklist_flag(...)` count as others.
CREATE MACRO term_removals(pool) AS TABLE
WITH flags AS (
  SELECT c.condition, c.distinct_terms, c."window" AS near, c.instant, c.without FROM pool_conditions c
  WHERE c.name = ref_name(pool) AND c.version = ref_version('pools', pool) AND c.is_flag
),
turned_away AS (
  SELECT d.document_id, d.documents, d.tokens, d.failed FROM decisions d
  WHERE d.name = ref_name(pool) AND d.version = ref_version('pools', pool) AND NOT d.kept AND len(d.failed) > 0
    AND list_has_all((SELECT coalesce(list(f.condition), []) FROM flags f), d.failed)
),
found AS ( -- the hits that the pool was decided by, beside each flag that they took part in
  SELECT d.document_id, d.documents, f.condition, f.distinct_terms, f.near, f.instant, h.term, h.role, h.start, h."end"
  FROM hits h
  JOIN uses u ON u.kind = 'pools' AND u.name = ref_name(pool) AND u.version = ref_version('pools', pool)
    AND u.used_kind = 'hits' AND h.name = u.used_name AND h.version = u.used_version
    AND h.list || '@' || h.list_version = u.used_part
  JOIN turned_away d ON d.document_id = h.document_id AND d.documents = h.name || '@' || h.version
  JOIN flags f ON list_contains(d.failed, f.condition) AND NOT list_contains(f.without, h.term)
),
terms AS ( -- each term, and what is left when it is taken out
  SELECT t.*, sum(t.instants) OVER flag - t.instants AS instants_left, sum(t.entities) OVER flag - t.entities
         AS entities_left, sum(t.risks) OVER flag - t.risks AS risks_left, count(*) OVER flag - 1 AS terms_left
  FROM (
    SELECT f.document_id, f.documents, f.condition, f.distinct_terms, f.near, f.instant, f.term,
           bool_or(f.role = 'instant')::INT AS instants, bool_or(f.role = 'entity')::INT AS entities,
           bool_or(f.role = 'risk')::INT AS risks
    FROM found f GROUP BY ALL
  ) t
  WINDOW flag AS (PARTITION BY t.document_id, t.documents, t.condition)
),
stretches AS ( -- those that flag by themselves, with their own first term, and their only entity or risk term
  SELECT * FROM (
    SELECT h.document_id, h.documents, h.condition, h.distinct_terms, h.near, h.term, h.start, h."end",
      min(h.term) FILTER (WHERE h.role = 'entity') OVER stretch AS entity,
      max(h.term) FILTER (WHERE h.role = 'entity') OVER stretch AS other_entity,
      min(h.term) FILTER (WHERE h.role = 'risk') OVER stretch AS risk,
      max(h.term) FILTER (WHERE h.role = 'risk') OVER stretch AS other_risk,
      count(DISTINCT h.term) OVER stretch AS terms
    FROM found h WHERE h.near IS NOT NULL
    WINDOW stretch AS (PARTITION BY h.document_id, h.documents, h.condition ORDER BY h.start::BIGINT
                       RANGE BETWEEN CURRENT ROW AND h."end"::BIGINT - h.start + coalesce(h.near, 0) FOLLOWING)
  ) s WHERE s.entity IS NOT NULL AND s.risk IS NOT NULL AND s.terms >= s.distinct_terms
),
needed AS ( -- the terms without which a stretch no longer flags: its last entity or risk term, one of just enough
  SELECT s.document_id, s.documents, s.condition, s.start, s."end", s.term AS first, h.term
  FROM stretches s JOIN found h ON h.document_id = s.document_id AND h.documents = s.documents
    AND h.condition = s.condition AND h.start BETWEEN s.start AND s."end"::BIGINT + s.near
  WHERE s.terms = s.distinct_terms -- but where the two are its only entity and its only risk: those come next
    AND NOT (s.distinct_terms = 2 AND s.entity = s.other_entity AND s.risk = s.other_risk AND s.entity <> s.risk)
  UNION
  SELECT s.document_id, s.documents, s.condition, s.start, s."end", s.term, unnest([
      s.term, CASE WHEN s.entity = s.other_entity THEN s.entity END, CASE WHEN s.risk = s.other_risk THEN s.risk END])
  FROM stretches s
),
left_over AS ( -- whether the flag holds without the term
  SELECT t.document_id, t.documents, t.condition, t.term, CASE
      WHEN t.instant AND t.instants_left > 0 THEN true
      WHEN t.entities_left = 0 OR t.risks_left = 0 OR t.terms_left < t.distinct_terms THEN false
      WHEN t.near IS NULL THEN true
      ELSE coalesce(a.stretches, 0) > coalesce(n.stretches, 0) END AS flagged
  FROM terms t LEFT JOIN (
    SELECT document_id, documents, condition, count(DISTINCT (start, "end", term)) AS stretches FROM stretches GROUP BY ALL
  ) a USING (document_id, documents, condition)
  LEFT JOIN (
    SELECT document_id, documents, condition, term, count(*) AS stretches FROM needed GROUP BY ALL
  ) n USING (document_id, documents, condition, term)
),
freed AS (
  SELECT l.document_id, l.documents, l.term, count(*) AS flags
  FROM left_over l WHERE NOT l.flagged
  GROUP BY l.document_id, l.documents, l.term
)
SELECT f.term, f.document_id, f.documents, d.tokens
FROM freed f JOIN turned_away d USING (document_id, documents)
WHERE f.flags = len(d.failed);

-- Documents removed only because of one term, and their tokens.
CREATE MACRO removed_only_by_term(pool, term) AS TABLE
SELECT r.document_id, r.documents, r.tokens FROM term_removals(pool) r WHERE r.term = term;

-- Every term that alone keeps documents out of a pool: how many, and how many tokens; the costliest first.
CREATE MACRO term_impact(pool) AS TABLE
SELECT r.term, count(*) AS documents, sum(r.tokens)::BIGINT AS tokens FROM term_removals(pool) r
GROUP BY r.term ORDER BY tokens DESC, r.term;

-- What each condition of a pool took away, in order: first to fail, failing at all, failing alone, left after it.
CREATE MACRO funnel(pool) AS TABLE
WITH d AS (
  SELECT decisions.* FROM decisions
  WHERE decisions.name = ref_name(pool) AND decisions.version = ref_version('pools', pool)
)
SELECT c.position, c.condition, c.sql,
       count(*) FILTER (WHERE d.reason = c.condition) AS removed,
       coalesce(sum(d.tokens) FILTER (WHERE d.reason = c.condition), 0)::BIGINT AS removed_tokens,
       count(*) FILTER (WHERE list_contains(d.failed, c.condition)) AS failing,
       count(*) FILTER (WHERE d.failed = [c.condition]) AS removed_only,
       coalesce(sum(d.tokens) FILTER (WHERE d.failed = [c.condition]), 0)::BIGINT AS removed_only_tokens,
       (count(d.document_id) - sum(count(*) FILTER (WHERE d.reason = c.condition)) OVER (ORDER BY c.position))::BIGINT
         AS remaining
FROM pool_conditions c LEFT JOIN d ON true
WHERE c.name = ref_name(pool) AND c.version = ref_version('pools', pool)
GROUP BY c.position, c.condition, c.sql ORDER BY c.position;

-- The pieces of one sequence of a mix and the documents they came from, a rewrite's with its style and teacher.
CREATE MACRO lineage(mix, at_seat, with_seed := NULL) AS TABLE
SELECT s.seed, s.seat, s.phase, s.component, s.pool, s.pool_row, s.epoch, i AS piece, s.item_kinds[i + 1] AS item_kind,
       s.item_ids[i + 1] AS item_id, s.doc_starts[i + 1] AS first_token,
       coalesce(s.doc_starts[i + 2], len(s.tokens)) - s.doc_starts[i + 1] AS tokens, s.doc_offsets[i + 1] AS doc_offset,
       d.name || '@' || d.version AS documents, d.source, d.url, d.title, d.locator, r.style, r.teacher
FROM (
  SELECT *, unnest(range(len(item_ids))) AS i FROM shards
  WHERE shards.mix = ref_name(mix) AND shards.version = ref_version('mixes', mix) AND shards.seat = at_seat
    AND (with_seed IS NULL OR shards.seed = with_seed)
) s
LEFT JOIN (
  SELECT e.*, e.name || '@' || e.version AS pool FROM edits e WHERE e.item_id = e.rewrite
) r ON r.item_id = s.item_ids[i + 1] AND r.pool = s.pool
LEFT JOIN ( -- the pool's documents, and those that its rewrites were made from
  SELECT documents.*, c.pool FROM documents JOIN (
    SELECT DISTINCT u.name || '@' || u.version AS pool, coalesce(w.used_name, u.used_name) AS corpus,
           coalesce(w.used_version, u.used_version) AS corpus_version
    FROM uses u LEFT JOIN uses w ON u.used_kind = 'rewrites' AND w.kind = u.used_kind AND w.name = u.used_name
      AND w.version = u.used_version AND w.used_kind = 'documents'
    WHERE u.kind = 'pools' AND (u.used_kind = 'documents' OR w.used_kind = 'documents')
  ) c ON documents.name = c.corpus AND documents.version = c.corpus_version
) d ON d.id = coalesce(r.document_id, s.item_ids[i + 1]) AND d.pool = s.pool
ORDER BY s.seed, i;

-- Tokens that each teacher wrote of a mix, and their share of all its tokens, counted from the shards. A token is its
-- in whose text it begins; an end-of-text belongs to the item that it ends.
CREATE MACRO mix_teachers(mix) AS TABLE
WITH pieces AS (
  SELECT s.seed, s.pool, unnest(s.item_ids) AS item_id, unnest(s.doc_offsets) AS first,
         unnest(list_append(s.doc_starts[2:], m.sequence_length)) - unnest(s.doc_starts) AS tokens
  FROM shards s JOIN mixes m USING (mix, version, seed)
  WHERE s.mix = ref_name(mix) AND s.version = ref_version('mixes', mix)
)
SELECT p.seed, e.teacher, e.teacher_revision, e.teacher_family, count(DISTINCT e.rewrite) AS rewrites,
       sum(least(e.first_token + e.tokens, p.first + p.tokens) - greatest(e.first_token, p.first))::BIGINT AS tokens,
       sum(least(e.first_token + e.tokens, p.first + p.tokens) - greatest(e.first_token, p.first))
         / any_value(m.sequences * m.sequence_length) AS share
FROM pieces p
JOIN edits e ON e.name || '@' || e.version = p.pool AND e.item_id = p.item_id
  AND e.first_token < p.first + p.tokens AND p.first < e.first_token + e.tokens
JOIN mixes m ON m.mix = ref_name(mix) AND m.version = ref_version('mixes', mix) AND m.seed = p.seed
GROUP BY ALL ORDER BY p.seed, tokens DESC, e.teacher, e.teacher_revision;

-- Every seat at which a document is seen in a mix, with the training step; one row a piece.
CREATE MACRO seen_when(mix, document) AS TABLE
SELECT s.seed, s.seat, s.seat // m.batch AS step, s.phase, s.component, s.epoch, i AS piece,
       s.doc_offsets[i + 1] AS doc_offset,
       coalesce(s.doc_starts[i + 2], m.sequence_length) - s.doc_starts[i + 1] AS tokens
FROM (
  SELECT *, unnest(range(len(item_ids))) AS i FROM shards
  WHERE shards.mix = ref_name(mix) AND shards.version = ref_version('mixes', mix)
    AND list_contains(shards.item_ids, document)
) s JOIN mixes m USING (mix, version, seed)
WHERE s.item_ids[i + 1] = document ORDER BY s.seed, s.seat, i;

-- Two mixes side by side, by phase and component; counts do not depend on the seed, so each side shows its lowest.
CREATE MACRO mix_diff(a, b) AS TABLE
WITH l AS (SELECT * FROM composition(a) QUALIFY seed = min(seed) OVER ()),
r AS (SELECT * FROM composition(b) QUALIFY seed = min(seed) OVER ())
SELECT coalesce(l.phase, r.phase) AS phase, coalesce(l.component, r.component) AS component, l.pool AS pool_a,
       r.pool AS pool_b, l.ratio AS ratio_a, r.ratio AS ratio_b, coalesce(l.written, 0) AS written_a,
       coalesce(r.written, 0) AS written_b, coalesce(r.written, 0) - coalesce(l.written, 0) AS more_in_b,
       l.loss_share AS loss_share_a, r.loss_share AS loss_share_b
FROM l FULL JOIN r ON l.phase = r.phase AND l.component = r.component
ORDER BY coalesce(l.position, r.position), component;

-- Hits with the text around them, spread over documents.
CREATE MACRO hit_examples(documents, of_term := NULL, examples := 10, around := 60) AS TABLE
SELECT h.term, h.role, h.category,
       substring(d.text, greatest(h.start - around, 0) + 1, least(h.start, around)) AS before, h.surface,
       substring(d.text, h."end" + 1, around) AS after, h.document_id, d.source, d.url
FROM (
  SELECT * FROM hits_current
  WHERE hits_current.name = ref_name(documents) AND hits_current.version = ref_version('documents', documents)
    AND (of_term IS NULL OR hits_current.term = of_term)
  ORDER BY row_number() OVER (PARTITION BY document_id ORDER BY start, "end"), document_id, start, term LIMIT examples
) h
JOIN documents d ON d.id = h.document_id AND d.name = h.name AND d.version = h.version
ORDER BY h.document_id, h.start, h.term;

-- Two pools side by side, document by document: kept in both, in one alone, in neither, and the tokens of each.
CREATE MACRO pool_diff(a, b) AS TABLE
SELECT coalesce(l.kept, false) AS kept_a, coalesce(r.kept, false) AS kept_b, l.reason AS reason_a, r.reason AS reason_b,
       count(*) AS documents, sum(coalesce(l.tokens, r.tokens))::BIGINT AS tokens
FROM (SELECT * FROM decisions WHERE decisions.name = ref_name(a) AND decisions.version = ref_version('pools', a)) l
FULL JOIN (SELECT * FROM decisions WHERE decisions.name = ref_name(b) AND decisions.version = ref_version('pools', b)) r
  USING (document_id, documents)
GROUP BY ALL ORDER BY kept_a DESC, kept_b DESC, documents DESC, reason_a, reason_b;

-- What a cascade's stage says of the gate before it, from the audit sample: positives there are in what was passed on,
-- and about how many in what was not. `recall` is the share of positives that were passed on; its ends come from the
-- Wilson 95 % interval of the positive share among the audited.
CREATE MACRO gate_audit(documents, of_measure, threshold) AS TABLE
WITH g AS (
  SELECT s.document_id, s.label AS gate, s.scorer_version FROM scores_current s
  WHERE s.name = ref_name(documents) AND s.version = ref_version('documents', documents)
    AND s.measure = of_measure || '_gate'
),
n AS (
  SELECT s.document_id, s.number, s.scorer_version FROM scores_current s
  WHERE s.name = ref_name(documents) AND s.version = ref_version('documents', documents)
    AND s.measure = of_measure AND s.segment IS NULL
),
c AS (
  SELECT count(*) FILTER (WHERE g.gate = 'reached') AS reached,
         count(*) FILTER (WHERE g.gate = 'reached' AND n.number >= threshold) AS reached_positive,
         count(*) FILTER (WHERE g.gate = 'audit') AS audited,
         count(*) FILTER (WHERE g.gate = 'audit' AND n.number >= threshold) AS audited_positive,
         count(*) FILTER (WHERE g.gate = 'not_reached') AS not_reached
  FROM g JOIN n USING (document_id, scorer_version)
),
w AS (
  SELECT c.*, audited_positive / nullif(audited, 0) AS p,
         (audited_positive + 1.920729) / nullif(audited + 3.841459, 0) AS centre,
         sqrt(audited_positive * (audited - audited_positive) / nullif(audited, 0) + 0.960365) * 1.959964
           / (audited + 3.841459) AS half
  FROM c
)
SELECT reached, reached_positive, audited, audited_positive, not_reached, p * (audited + not_reached) AS missed,
       reached_positive / nullif(reached_positive + p * (audited + not_reached), 0) AS recall,
       reached_positive / nullif(reached_positive + (centre + half) * (audited + not_reached), 0) AS recall_low,
       reached_positive / nullif(reached_positive + greatest(centre - half, 0) * (audited + not_reached), 0)
         AS recall_high
FROM w;

-- The lower end of Wilson's 95 % interval of a share; 0 of nothing.
CREATE MACRO wilson_low(hits, of_all) AS
  CASE WHEN of_all = 0 THEN 0 ELSE greatest(0,
    (hits + 1.920729 - 1.959964 * sqrt(hits * (of_all - hits) / of_all + 0.960365)) / (of_all + 3.841459)) END;

-- Its upper end; 1 of nothing.
CREATE MACRO wilson_high(hits, of_all) AS
  CASE WHEN of_all = 0 THEN 1 ELSE least(1,
    (hits + 1.920729 + 1.959964 * sqrt(hits * (of_all - hits) / of_all + 0.960365)) / (of_all + 3.841459)) END;

-- Precision and recall of a calibrated classifier at every hundredth, on one split of one file of labels, with the ends
-- of Wilson's 95 % intervals.
CREATE MACRO calibration_curve(classifier, of_split := 'test') AS TABLE
WITH p AS (
  SELECT DISTINCT labels, kind, text_id, label, number FROM predictions
  WHERE name = ref_name(classifier) AND version = ref_version('calibrations', classifier) AND split = of_split
),
c AS (
  SELECT p.labels, t / 100 AS threshold, count(*) AS texts, count(*) FILTER (WHERE label = 1) AS positives,
         count(*) FILTER (WHERE number >= t / 100) AS called,
         count(*) FILTER (WHERE number >= t / 100 AND label = 1) AS hit
  FROM p, range(0, 101) r(t) GROUP BY ALL
)
SELECT labels, threshold, texts, called / texts AS called_share, hit / nullif(called, 0) AS "precision",
       wilson_low(hit, called) AS precision_low, wilson_high(hit, called) AS precision_high,
       hit / nullif(positives, 0) AS recall, wilson_low(hit, positives) AS recall_low,
       wilson_high(hit, positives) AS recall_high, 2 * hit / nullif(called + positives, 0) AS f1
FROM c ORDER BY labels, threshold;

-- What the threshold of a calibration does to one split, whole (kind null) and by kind, and how many of the positives are
-- gone where the highest `share` of the split's texts, or of its negatives, is taken away.
CREATE MACRO calibrated(classifier, of_split := 'test', share := 0.05) AS TABLE
WITH p AS (
  SELECT DISTINCT labels, split, kind, text_id, label, number FROM predictions
  WHERE name = ref_name(classifier) AND version = ref_version('calibrations', classifier)
),
a AS ( -- the file, split and target that stand in each calibration's name
  SELECT unnest(regexp_extract(o.part, '^(.+)-([^-]+)-recall-([0-9.]+)$', ['labels', 'split', 'target'])) FROM outputs o
  WHERE o.kind = 'calibrations' AND o.name = ref_name(classifier)
    AND o.version = ref_version('calibrations', classifier)
),
t AS ( -- the largest threshold with that recall
  SELECT a.labels, a.split AS chosen_on, a.target::DECIMAL(18, 9) AS target,
         list_sort(list(p.number), 'DESC')[ceil(any_value(a.target::DECIMAL(18, 9)) * count(*))::BIGINT] AS threshold
  FROM a JOIN p ON p.labels = a.labels AND p.split = a.split AND p.label = 1 GROUP BY ALL
),
r AS ( -- what is above these scores is taken away; of no score above: everything
  SELECT p.labels, coalesce(list_sort(list(p.number), 'DESC')[floor(count(*) * share)::BIGINT + 1], -1) AS of_all,
         coalesce(list_sort(list(p.number) FILTER (WHERE p.label = 0), 'DESC')
           [floor(count(*) FILTER (WHERE p.label = 0) * share)::BIGINT + 1], -1) AS of_negatives
  FROM p WHERE p.split = of_split GROUP BY p.labels
),
c AS (
  SELECT t.labels, t.chosen_on, t.target, t.threshold, p.kind, count(*) AS texts,
         count(*) FILTER (WHERE p.label = 1) AS positives, count(*) FILTER (WHERE p.number >= t.threshold) AS called,
         count(*) FILTER (WHERE p.number >= t.threshold AND p.label = 1) AS hit,
         count(*) FILTER (WHERE p.number > r.of_all AND p.label = 1) AS gone_all,
         count(*) FILTER (WHERE p.number > r.of_negatives AND p.label = 1) AS gone_negatives
  FROM p JOIN t USING (labels) JOIN r USING (labels) WHERE p.split = of_split
  GROUP BY GROUPING SETS ((t.labels, t.chosen_on, t.target, t.threshold),
                          (t.labels, t.chosen_on, t.target, t.threshold, p.kind))
)
SELECT labels, chosen_on, target, threshold, kind, texts, positives,
       hit / nullif(called, 0) AS "precision", wilson_low(hit, called) AS precision_low,
       wilson_high(hit, called) AS precision_high,
       hit / nullif(positives, 0) AS recall, wilson_low(hit, positives) AS recall_low,
       wilson_high(hit, positives) AS recall_high,
       2 * hit / nullif(called + positives, 0) AS f1,
       gone_all / nullif(positives, 0) AS recall_at_share, wilson_low(gone_all, positives) AS recall_at_share_low,
       wilson_high(gone_all, positives) AS recall_at_share_high,
       gone_negatives / nullif(positives, 0) AS recall_at_negative_share,
       wilson_low(gone_negatives, positives) AS recall_at_negative_share_low,
       wilson_high(gone_negatives, positives) AS recall_at_negative_share_high
FROM c ORDER BY labels, chosen_on, target, kind NULLS FIRST;

-- How well a classifier's probabilities are calibrated: in each tenth, the mean probability and the share that is true.
CREATE MACRO reliability(classifier, of_split := 'test') AS TABLE
SELECT p.labels, least(floor(p.number * 10), 9) / 10 AS from_probability, count(*) AS texts,
       avg(p.number) AS mean_probability, avg(p.label) AS share_positive
FROM (
  SELECT DISTINCT labels, kind, text_id, label, number FROM predictions
  WHERE name = ref_name(classifier) AND version = ref_version('calibrations', classifier) AND split = of_split
) p
GROUP BY ALL ORDER BY p.labels, from_probability;

-- Each evaluation item's stratum against documents, a pool or a mix, by the texts that it truly holds: matched, topic
-- (a passage at least `alike` to it), clean, too_short to be looked for, or unsearched: not found, but some of its
-- corpora were not searched for the newest index.
CREATE MACRO item_strata(ref, alike := 0.45) AS TABLE
WITH k AS (
  SELECT DISTINCT o.kind, o.name, o.version FROM outputs o
  WHERE o.kind IN ('documents', 'rewrites', 'pools', 'mixes') AND o.name = ref_name(ref)
    AND CASE WHEN contains(ref, '@') THEN o.version = split_part(ref, '@', 2) ELSE o.is_newest END
  ORDER BY o.kind LIMIT 1
),
pools_of AS (
  SELECT k.name, k.version FROM k WHERE k.kind = 'pools'
  UNION SELECT u.used_name, u.used_version FROM k
  JOIN uses u ON k.kind = 'mixes' AND u.kind = k.kind AND u.name = k.name AND u.version = k.version
    AND u.used_kind = 'pools'
),
corpora AS (
  SELECT k.name, k.version FROM k WHERE k.kind IN ('documents', 'rewrites')
  UNION SELECT u.used_name, u.used_version FROM pools_of p
  JOIN uses u ON u.kind = 'pools' AND u.name = p.name AND u.version = p.version
    AND u.used_kind IN ('documents', 'rewrites')
),
searched AS (
  SELECT c.name, c.version, u.used_version AS benchmarks, o.created FROM corpora c
  JOIN outputs o ON o.kind = 'matches' AND o.name = c.name AND o.version = c.version
  JOIN uses u ON u.kind = o.kind AND u.name = o.name AND u.version = o.version AND u.part = o.part
    AND u.used_kind = 'benchmarks'
),
newest AS (
  SELECT any_value(s.benchmarks) AS benchmarks, count(*) < (SELECT count(*) FROM corpora) AS lacking
  FROM (SELECT DISTINCT s.name, s.version, s.benchmarks FROM searched s
        WHERE s.benchmarks = (SELECT arg_max(x.benchmarks, x.created) FROM searched x)) s
),
held AS (
  SELECT DISTINCT unnest(s.item_ids) AS id FROM shards s
  JOIN k ON k.kind = 'mixes' AND s.mix = k.name AND s.version = k.version
  UNION SELECT DISTINCT unnest(s.item_ids) FROM sequences s
  JOIN k ON k.kind = 'pools' AND s.name = k.name AND s.version = k.version
),
inside AS ( -- and the rewrites that its items were given
  SELECT held.id FROM held UNION SELECT e.rewrite FROM edits e JOIN pools_of p ON e.name = p.name
    AND e.version = p.version JOIN held ON held.id = e.item_id
),
found AS (
  SELECT m."set", m.item_id, count(DISTINCT coalesce(m.rewrite, m.document_id)) FILTER (WHERE m.stratum = 'matched')
         AS texts, max(m.coverage) AS coverage, max(m.similarity) AS similarity
  FROM matches_current m JOIN corpora c USING (name, version) JOIN newest n USING (benchmarks)
  WHERE (SELECT k.kind FROM k) IN ('documents', 'rewrites')
     OR coalesce(m.rewrite, m.document_id) IN (SELECT inside.id FROM inside)
  GROUP BY ALL
)
SELECT i."set", i.item_id, i."group", CASE
         WHEN f.texts > 0 THEN 'matched' WHEN f.similarity >= alike THEN 'topic' WHEN n.lacking THEN 'unsearched'
         WHEN i.long_units + i.short_units = 0 THEN 'too_short' ELSE 'clean' END AS stratum,
       coalesce(f.texts, 0) AS texts, f.coverage, f.similarity
FROM items i JOIN newest n ON i.version = n.benchmarks LEFT JOIN found f USING ("set", item_id)
ORDER BY i."set", i.item_id;

-- For each method: documents, those kept where each cluster leaves one, clusters of two and more, what they would take
-- away (documents and bytes).
CREATE MACRO duplicate_counts(documents) AS TABLE
SELECT c.method, count(*) AS documents, count(*) FILTER (WHERE c.representative = c.document_id) AS kept,
       count(*) FILTER (WHERE c.representative = c.document_id AND c.size > 1) AS clusters,
       count(*) FILTER (WHERE c.representative <> c.document_id) AS redundant,
       coalesce(sum(d.bytes) FILTER (WHERE c.representative <> c.document_id), 0)::BIGINT AS redundant_bytes
FROM duplicates c JOIN documents d ON d.id = c.document_id AND d.name = c.name AND d.version = c.version
WHERE c.name = ref_name(documents) AND c.version = ref_version('documents', documents)
GROUP BY c.method ORDER BY c.method;

-- The documents of every cluster, the largest clusters first, their representative ahead.
CREATE MACRO cluster_members(documents, of_method := 'near', around := 120) AS TABLE
SELECT c.cluster, c.size, c.document_id, c.representative = c.document_id AS is_representative, c.jaccard, d.chars,
       d.source, d.url, d.locator, substring(d.text, 1, around) AS text
FROM duplicates c JOIN documents d ON d.id = c.document_id AND d.name = c.name AND d.version = c.version
WHERE c.name = ref_name(documents) AND c.version = ref_version('documents', documents) AND c.method = of_method
  AND c.size > 1
ORDER BY c.size DESC, c.cluster, is_representative DESC, c.jaccard DESC, c.document_id;

-- Paragraphs that stand in several documents, those of most documents first, with their text.
CREATE MACRO repeated_paragraphs(documents) AS TABLE
SELECT p.documents, p.occurrences, p.chars, substring(d.text, p.start + 1, p."end" - p.start) AS text, p.document_id,
       p.paragraph
FROM paragraphs p JOIN documents d ON d.id = p.document_id AND d.name = p.name AND d.version = p.version
WHERE p.name = ref_name(documents) AND p.version = ref_version('documents', documents)
ORDER BY p.documents DESC, p.chars DESC, p.paragraph;

-- Segments by act and portrayal, with documents and characters: the cells of stance.
CREATE MACRO stance_cells(documents) AS TABLE
SELECT a.label AS act, p.label AS portrayal, count(*) AS segments, count(DISTINCT a.document_id) AS documents,
       sum(g."end" - g.start)::BIGINT AS chars
FROM scores_current a
JOIN scores_current p USING (name, version, scorer, scorer_version, document_id, segment)
JOIN (SELECT DISTINCT name, version, document_id, segment, start, "end" FROM segments) g
  USING (name, version, document_id, segment)
WHERE a.name = ref_name(documents) AND a.version = ref_version('documents', documents)
  AND a.measure = 'stance_act' AND p.measure = 'stance_portrayal'
GROUP BY ALL ORDER BY ALL;

-- The dangerous cell: segments in which a misaligned act is praised, likeliest first, with their text.
CREATE MACRO dangerous(documents, at_least := 0.5, examples := 10) AS TABLE
SELECT round(a.number * p.number, 4) AS chance, a.document_id, a.segment, d.source, d.url,
       substring(d.text, g.start + 1, g."end" - g.start) AS text
FROM scores_current a
JOIN scores_current p USING (name, version, scorer, scorer_version, document_id, segment)
JOIN (SELECT DISTINCT name, version, document_id, segment, start, "end" FROM segments) g
  USING (name, version, document_id, segment)
JOIN documents d ON d.name = a.name AND d.version = a.version AND d.id = a.document_id
WHERE a.name = ref_name(documents) AND a.version = ref_version('documents', documents)
  AND a.measure = 'stance_act' AND p.measure = 'stance_portrayal' AND a.label = 'misaligned' AND p.label = 'praised'
  AND a.number * p.number >= at_least
ORDER BY chance DESC, a.document_id, a.segment LIMIT examples;

-- What each scorer of a corpus took: its share of the documents and of all processor time, and its FLOPs also as a share
-- of a training's (6 x parameters x tokens).
CREATE MACRO scoring_cost(documents, training_flops := NULL) AS TABLE
SELECT c.part AS scorer, c.documents, c.documents / nullif(c.of_documents, 0) AS document_share, c.cpu_seconds,
       c.cpu_seconds / nullif(sum(c.cpu_seconds) OVER (), 0) AS time_share, c.flops,
       c.flops / training_flops AS training_share, c.price
FROM stage_costs c
WHERE c.kind = 'scores' AND c.name = ref_name(documents) AND c.version = ref_version('documents', documents)
ORDER BY c.cpu_seconds DESC, c.part;
