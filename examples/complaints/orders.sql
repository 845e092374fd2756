CREATE TABLE orders (
  id       TEXT PRIMARY KEY,
  item     TEXT NOT NULL,
  total    NUMERIC NOT NULL,
  customer TEXT NOT NULL,
  status   TEXT NOT NULL
);
INSERT INTO orders VALUES
  ('A-100', 'kettle', 39.90, 'ann@example.com', 'on its way'),
  ('A-200', 'lamp', 89.00, 'bob@example.com', 'delivered'),
  ('A-300', 'radio', 25.50, 'eve@example.com', 'delivered');
