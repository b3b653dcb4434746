<?php

/**
 * The tables of the fake core: rows by key, in memory, and every change as a line of JSON in a file that all processes read
 * from where they left off. A transaction holds the file's lock to its end, and writes its lines then.
 */
final class journal
{
    /** @var array<string, array<int|string, array<string, mixed>>> */
    private static array $tables = [];

    /** @var resource|null */
    private static $file = null;

    private static int $read = 0;

    private static bool $isLocked = false;

    /** @var array<int, array{0: string, 1: int|string, 2: array<string, mixed>|null}>|null the state before each change of the transaction */
    private static ?array $undo = null;

    private static string $unwritten = '';

    public static function path(): string
    {
        return __DIR__ . '/../../database.journal';
    }

    /** @return array<int|string, array<string, mixed>> the rows of a table, by key */
    public static function rows(string $table): array
    {
        self::locked(LOCK_SH, static function (): void {
        });
        return self::$tables[$table] ?? [];
    }

    /**
     * Changes rows. What throws changes nothing more.
     *
     * @param callable(array<int|string, array<string, mixed>>): array<int|string, array<string, mixed>|null> $change from the rows to those
     *        that are different, null for one that goes
     */
    public static function change(string $table, callable $change): void
    {
        self::locked(LOCK_EX, static function () use ($table, $change): void {
            foreach ($change(self::$tables[$table] ?? []) as $key => $row) {
                if (self::$undo !== null) {
                    self::$undo[] = [$table, $key, self::$tables[$table][$key] ?? null];
                }
                self::apply($table, $key, $row);
                self::$unwritten .= json_encode([$table, $key, $row], JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE) . "\n";
            }
            if (self::$undo === null) {
                self::write();
            }
        });
    }

    public static function begin(): void
    {
        if (self::$undo !== null) {
            throw new Exception('There is already an active transaction');
        }
        self::lock(LOCK_EX);
        self::$undo = [];
    }

    public static function commit(): void
    {
        self::inTransaction() || self::none();
        self::$undo = null;
        self::write();
        flock(self::$file, LOCK_UN);
    }

    public static function rollBack(): void
    {
        self::inTransaction() || self::none();
        foreach (array_reverse(self::$undo) as [$table, $key, $row]) {
            self::apply($table, $key, $row);
        }
        self::$undo = null;
        self::$unwritten = '';
        flock(self::$file, LOCK_UN);
    }

    public static function inTransaction(): bool
    {
        return self::$undo !== null;
    }

    private static function none(): void
    {
        throw new Exception('There is no active transaction');
    }

    private static function locked(int $how, callable $do): void
    {
        if (self::$undo !== null || self::$isLocked) {
            $do();
            return;
        }
        self::lock($how);
        self::$isLocked = true;
        try {
            $do();
        } finally {
            self::$isLocked = false;
            flock(self::$file, LOCK_UN);
        }
    }

    private static function lock(int $how): void
    {
        if (self::$file === null) {
            self::$file = fopen(self::path(), 'c+');
        }
        flock(self::$file, $how);
        fseek(self::$file, self::$read);
        while (($line = fgets(self::$file)) !== false) {
            [$table, $key, $row] = json_decode($line, true);
            self::apply($table, $key, $row);
            self::$read += strlen($line);
        }
    }

    private static function write(): void
    {
        fseek(self::$file, 0, SEEK_END);
        fwrite(self::$file, self::$unwritten);
        fflush(self::$file);
        self::$read += strlen(self::$unwritten);
        self::$unwritten = '';
    }

    /**
     * @param int|string $key
     * @param array<string, mixed>|null $row
     */
    private static function apply(string $table, $key, ?array $row): void
    {
        if ($row === null) {
            unset(self::$tables[$table][$key]);
        } else {
            self::$tables[$table][$key] = $row;
        }
    }
}
