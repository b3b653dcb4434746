<?php

class log
{
    private const LEVELS = [
        'debug' => 100, 'info' => 200, 'notice' => 250, 'warning' => 300, 'error' => 400, 'critical' => 500, 'alert' => 550, 'emergency' => 600,
    ];

    /** Read once in a process. */
    private static $config = null;

    private static function setting(string $key)
    {
        if (self::$config === null) {
            self::$config = ['log::level' => config::byKey('log::level'), 'addMessageForErrorLog' => config::byKey('addMessageForErrorLog')];
            foreach (journal::rows('config') as $row) {
                if (strpos($row['key'], 'log::level::') === 0) {
                    self::$config[$row['key']] = is_json($row['value'], $row['value']);
                }
            }
        }
        return self::$config[$key] ?? '';
    }

    public static function getLogLevel($_log)
    {
        $own = self::setting('log::level::' . $_log);
        if (is_array($own) && (int) ($own['default'] ?? 0) !== 1) {
            foreach ($own as $level => $chosen) {
                if (is_numeric($level) && $chosen == 1) {
                    return $level;
                }
            }
        }
        return self::setting('log::level');
    }

    public static function convertLogLevel($_level = 100)
    {
        $name = $_level >= 600 ? false : array_search($_level, self::LEVELS);
        return $name === false ? 'none' : $name;
    }

    public static function add(string $_log, string $_type, string $_message, string $_logicalId = '')
    {
        $level = self::LEVELS[strtolower($_type)] ?? 100;
        if (trim($_message) === '' || $level < self::getLogLevel($_log)) {
            return;
        }
        file_put_contents(self::getPathToLog($_log), '[' . date('Y-m-d H:i:s') . '][' . strtoupper($_type) . '] ' . $_message . "\n", FILE_APPEND);
        if (($level === 400 && self::setting('addMessageForErrorLog') == 1) || $level >= 500) {
            message::add($_log, $_message, '<a href="/index.php?v=d&p=log&logfile=' . $_log . '">' . $_log . '</a>', $_logicalId);
        }
    }

    public static function getPathToLog($_log = 'core')
    {
        return __DIR__ . '/../../log/' . $_log;
    }

    /** For the tests: as a process that starts now. */
    public static function forget(): void
    {
        self::$config = null;
    }
}
