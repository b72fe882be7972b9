package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"shop/stockpb"
)

var errOutOfStock = errors.New("out of stock")

// A store is the database: the products, and what was sold of them.
type store struct{ db *sql.DB }

// What a new shop has: of each category twelve products, which have sold before.
// The last one is not made any more.
const (
	perCategory = 12
	oldSales    = 60_000
)

var categories = []string{"boots", "coat", "scarf", "umbrella"}

const schema = `
CREATE TABLE products (sku TEXT PRIMARY KEY, name TEXT, category TEXT, cents INTEGER, on_hand INTEGER, full INTEGER);
CREATE TABLE sales (id INTEGER PRIMARY KEY, sku TEXT, quantity INTEGER);
`

func openStore(ctx context.Context, path string) (*store, error) {
	db, err := sql.Open("sqlite", path+"?_pragma=journal_mode(wal)&_pragma=busy_timeout(5000)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	s := &store{db}
	if err := s.fill(ctx); err != nil {
		db.Close()
		return nil, fmt.Errorf("fill %s: %w", path, err)
	}
	return s, nil
}

func (s *store) close() error { return s.db.Close() }

// fill makes the tables.
func (s *store) fill(ctx context.Context) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, schema); err != nil {
		return err
	}
	for i, category := range categories {
		for n := 1; n <= perCategory; n++ {
			full := 500
			if n == perCategory {
				full = 0
			}
			_, err := tx.ExecContext(ctx, `INSERT INTO products VALUES (?, ?, ?, ?, ?, ?)`,
				fmt.Sprintf("%s-%02d", category, n), fmt.Sprintf("%s no. %d", category, n), category, 1900+700*i+100*n, full, full)
			if err != nil {
				return err
			}
		}
	}
	_, err = tx.ExecContext(ctx, `
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < ?)
		INSERT INTO sales (sku, quantity) SELECT sku, 1 + i % products.rowid % 3 FROM n, products`, oldSales/(perCategory*len(categories)))
	if err != nil {
		return err
	}
	return tx.Commit()
}

func (s *store) product(ctx context.Context, sku string) (*stockpb.ProductReply, error) {
	p := &stockpb.ProductReply{Sku: sku}
	row := s.db.QueryRowContext(ctx, `SELECT name, category, cents, on_hand FROM products WHERE sku = ?`, sku)
	if err := row.Scan(&p.Name, &p.Category, &p.Cents, &p.OnHand); err != nil {
		return nil, err
	}
	if p.OnHand > 0 { // nobody takes pictures of what is gone
		p.Images = []string{"front.jpg", "back.jpg"}
	}
	return p, nil
}

// reserve returns what the quantity costs. A sale that cannot be is errOutOfStock.
func (s *store) reserve(ctx context.Context, sku string, quantity int64) (cents int64, err error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	row := tx.QueryRowContext(ctx, `
		UPDATE products SET on_hand = on_hand - ?2 WHERE sku = ?1 AND on_hand >= ?2
		RETURNING cents * ?2`, sku, quantity)
	if err := row.Scan(&cents); errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("%d of %s: %w", quantity, sku, errOutOfStock)
	} else if err != nil {
		return 0, err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO sales (sku, quantity) VALUES (?, ?)`, sku, quantity); err != nil {
		return 0, err
	}
	return cents, tx.Commit()
}

// alternatives are the three products of the same category that sell best.
func (s *store) alternatives(ctx context.Context, sku string) ([]string, error) {
	others, err := s.available(ctx, sku)
	if err != nil {
		return nil, err
	}
	sold := make(map[string]int64)
	for _, other := range others {
		if sold[other], err = s.sold(ctx, other); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(others, func(a, b string) int { return cmp.Compare(sold[b], sold[a]) })
	return others[:min(3, len(others))], nil
}

// available are the products of a product's category that there are some of.
func (s *store) available(ctx context.Context, sku string) ([]string, error) {
	rows, err := s.db.QueryContext(ctx, `
		SELECT other.sku FROM products AS this JOIN products AS other USING (category)
		WHERE this.sku = ? AND other.on_hand > 0`, sku)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var skus []string
	for rows.Next() {
		var sku string
		if err := rows.Scan(&sku); err != nil {
			return nil, err
		}
		skus = append(skus, sku)
	}
	return skus, rows.Err()
}

// sold is how many of a product were ever sold.
func (s *store) sold(ctx context.Context, sku string) (quantity int64, err error) {
	row := s.db.QueryRowContext(ctx, `SELECT coalesce(sum(quantity), 0) FROM sales WHERE sku = ?`, sku)
	err = row.Scan(&quantity)
	return quantity, err
}

// restock fills up what is made still, and forgets the oldest sales. It returns
// how many products were filled up.
func (s *store) restock(ctx context.Context) (products int64, err error) {
	result, err := s.db.ExecContext(ctx, `UPDATE products SET on_hand = full WHERE on_hand < full`)
	if err != nil {
		return 0, err
	}
	_, err = s.db.ExecContext(ctx, `DELETE FROM sales WHERE id <= (SELECT max(id) FROM sales) - ?`, oldSales)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}
