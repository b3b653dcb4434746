<?php

/** The core's default engine, FileCache: a file a key. */
class cache
{
    private $key;
    private $value = null;
    private $lifetime = 0;

    private static function path($key): string
    {
        return jeedom::getTmpFolder('cache') . '/' . base64_encode($key);
    }

    public static function set($_key, $_value, $_lifetime = 0)
    {
        $cache = new self();
        $cache->key = $_key;
        $cache->value = $_value;
        $cache->lifetime = (int) $_lifetime;
        $path = self::path($_key);
        file_put_contents($path . '.' . getmypid(), serialize($cache));
        rename($path . '.' . getmypid(), $path);
    }

    /** @return cache */
    public static function byKey($_key)
    {
        $text = @file_get_contents(self::path($_key));
        $cache = $text === false ? false : unserialize($text);
        if ($cache instanceof self && ($cache->lifetime === 0 || filemtime(self::path($_key)) + $cache->lifetime >= time())) {
            return $cache;
        }
        $cache = new self();
        $cache->key = $_key;
        return $cache;
    }

    public static function exist($_key)
    {
        return self::byKey($_key)->getValue(null) !== null;
    }

    public static function delete($_key)
    {
        @unlink(self::path($_key));
    }

    public function remove()
    {
        self::delete($this->key);
    }

    public function getValue($_default = '')
    {
        return $this->value === null || (is_string($this->value) && trim($this->value) === '') ? $_default : $this->value;
    }
}
