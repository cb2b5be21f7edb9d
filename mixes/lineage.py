"""Is the pool that stands in for removed text made of rewrites of that very text? Asked of the two pools' own tables.

edits of the pool that stands in: rewrite, document  --compare-->  decisions of the removed pool: document, kept
"""

from __future__ import annotations

from leaven.catalog import escape, parquet
from leaven.errors import UserError
from leaven.home import Home
from leaven.manifest import Manifest
from mixes.recipes import MixRecipe


def check_lineage(recipe: MixRecipe, home: Home) -> None:
    """Raises UserError, for the policy `rewrite`, unless every rewrite that stands in was made from a document that
    the removed component's pool holds, held-out documents not among them."""
    replaced = recipe.replace
    if not replaced or replaced.policy != "rewrite":
        return
    assert replaced.pool
    where = recipe.where(replaced.component, "replace")
    stands, gone = (home.find("pools", recipe.pools[c], where=where) for c in (replaced.pool, replaced.component))
    if stands.meaning.get("item") != "rewrite":
        raise UserError(
            f"the policy 'rewrite' needs a pool of rewrites, and {stands.ref} ('{replaced.pool}') is made of documents",
            where=where, do='build a pool whose recipe names rewrites and no documents, or use the policy "approved"',
        )  # fmt: skip
    found = _found(stands, gone)
    if found["of_these"] == found["rewrites"]:
        return
    told = (("rewrites", f"rewrites in {stands.ref}"), ("of_these", f"made from documents that {gone.ref} holds"),
            ("of_heldout", f"made from documents that are held out of {gone.ref}"),
            ("net_new", "made from no document"), ("of_others", "made from other documents"))  # fmt: skip
    raise UserError(
        f"'{replaced.pool}' cannot stand in for '{replaced.component}': not all of it was rewritten from that",
        where=where,
        numbers=[f"{found[key]:>9,} {about}" for key, about in told if found[key] or key in ("rewrites", "of_these")],
        do=f"rewrite with the [keep] of {gone.ref} and give both pools one heldout_share, or use the policy 'approved'",
    )


def _found(stands: Manifest, gone: Manifest) -> dict[str, int]:
    """How many rewrites of one pool were made from which documents of the other."""
    import duckdb

    def table(pool: Manifest, stem: str) -> str:
        return parquet([escape(pool.folder / f["path"]) for f in pool.files if f["path"].startswith(stem)])

    query = f"""
        SELECT count(*) AS rewrites, count(*) FILTER (WHERE d.kept AND NOT d.heldout) AS of_these,
               count(*) FILTER (WHERE d.kept AND d.heldout) AS of_heldout,
               count(*) FILTER (WHERE e.document_id IS NULL) AS net_new,
               count(*) FILTER (WHERE e.document_id IS NOT NULL AND coalesce(NOT d.kept, true)) AS of_others
        FROM (SELECT document_id FROM {table(stands, "edits-")} WHERE NOT heldout) e
        LEFT JOIN (SELECT document_id, bool_or(kept) AS kept, bool_and(heldout) AS heldout
                   FROM {table(gone, "decisions-")} GROUP BY document_id) d USING (document_id)
    """
    with duckdb.connect() as con:
        cursor = con.execute(query)
        (row,) = cursor.fetchall()
        return dict(zip([column[0] for column in cursor.description], row))
