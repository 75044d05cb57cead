"""The schemas of what the admin API shows; its OpenAPI document is generated from them.

Conventions: camelCase; every field is always present; null: nothing is known.
Names that end in `At` are labels (RFC 3339, UTC), from the loop's clock and one reading of the
wall clock at the start, so that a clock that jumps does not distort a timeline. Names that end in
`Seconds` are durations by the loop's clock at the moment of the answer. Texts from outside are
data, cut at 200 characters, and may hold anything: show them as text.
"""
