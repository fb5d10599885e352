-- What this box let in since its share of the capacity began is counted when it takes a new one.
CREATE INDEX uses_by_box ON uses (box_id, seq_no);
