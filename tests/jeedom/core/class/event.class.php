<?php

class event
{
    public static function add($_event, $_option = [], $_clean = true)
    {
        DB::insert('event', [
            'datetime' => getmicrotime(), 'name' => $_event, 'option' => is_array($_option) ? json_encode($_option, JSON_UNESCAPED_UNICODE) : $_option,
        ]);
    }

    public static function adds($_event, $_values = [])
    {
        foreach ($_values as $option) {
            self::add($_event, $option, false);
        }
    }

    /**
     * For the tests: what pages got.
     *
     * @return array<int, array<string, mixed>>
     */
    public static function told(string $name): array
    {
        $told = [];
        foreach (journal::rows('event') as $row) {
            if ($row['name'] === $name) {
                $told[] = json_decode($row['option'], true);
            }
        }
        return $told;
    }
}
