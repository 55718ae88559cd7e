"""Orders, payments, parcels and customers for other programs: one domain call a view, its answer translated."""
