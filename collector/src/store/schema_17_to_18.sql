-- Events that were seen and could not be judged. Before this nobody counted them.
ALTER TABLE sli_counts ADD COLUMN unknown INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sli_hours ADD COLUMN unknown INTEGER NOT NULL DEFAULT 0;
